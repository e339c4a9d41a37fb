# shellcheck shell=bash disable=SC2034
# Policy engine: kube-router on every node, which only enforces NetworkPolicies.

policy_now() { cat "$BED_DIR/state/policy"; }

set_policy() { echo "$1" >"$BED_DIR/state/policy"; }

policy_on_node() { # number
  local name; name=$(node_name "$1")
  ! pid_in_node "$1" kube-router >/dev/null || return 0
  start_on_node "$1" kube-router --kubeconfig="$BED_DIR/conf/kube-router.kubeconfig" --hostname-override="$name" \
    --run-firewall=true --run-router=false --run-service-proxy=false --health-port=0 --metrics-port=0 \
    --iptables-sync-period=60s --service-cluster-ip-range=10.96.0.0/16
  await 60 "kube-router on node $1 sets no rules: see the log below" "$BED_DIR/log/$name/kube-router.log" policy_stands "$1"
}

policy_stands() { # number
  in_node "$1" iptables -w -C FORWARD -j KUBE-ROUTER-FORWARD 2>/dev/null ||
    in_node "$1" iptables -w -S FORWARD | grep -q -- '-j KUBE-ROUTER-FORWARD'
}

# Stops kube-router and removes its rules, which would otherwise stay in force. Only kube-router uses the filter table
# and the address sets of a node's network namespace; kube-proxy has its own table.
policy_off_node() { # number
  local pid _
  if pid=$(pid_in_node "$1" kube-router); then
    kill -9 "$pid" 2>/dev/null || true
    for _ in $(seq 50); do [ -d "/proc/$pid" ] || break; sleep 0.05; done
  fi
  in_node "$1" bash -c '
    iptables -w -P INPUT ACCEPT; iptables -w -P FORWARD ACCEPT; iptables -w -P OUTPUT ACCEPT
    iptables -w -F && iptables -w -X && ipset destroy' ||
    fail "the rules on node $1 could not be removed: run bed down and bed up"
}

policy() { # on|off
  local i
  need_up
  case ${1:-} in
    on)
      if [ "$(cat "$BED_DIR/state/cni")" = bridge ]; then set_policy half; else set_policy enforce; fi
      for i in $(nodes_on); do step "node $i: policies enforced" policy_on_node "$i"; done ;;
    off)
      set_policy none
      for i in $(nodes_on); do step "node $i: policies not enforced" policy_off_node "$i"; done ;;
    *) fail "bed policy takes on or off" ;;
  esac
}
