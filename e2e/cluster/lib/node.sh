# shellcheck shell=bash disable=SC2034
# Nodes: each is a set of namespaces under one process, so that killing that process is a power cut.

node_on() { # number, number of the node whose machine id it reports
  local i=$1 twin=${2:-$1} name space dir
  name=$(node_name "$i") space=$(node_space "$i") dir=$(node_dir "$i")
  mkdir -p "$dir"/{kubelet,containerd,cnilib,cni,podlogs,ctrlogs,etc,loaded,volumes} "$BED_DIR/log/$name"
  # every node mounts over these folders; outside of nodes they stay empty
  mkdir -p /var/lib/kubelet /var/lib/containerd /var/lib/cni /etc/cni/net.d /var/log/pods /var/log/containers
  node_identity "$i"
  node_network "$i"
  make_cgroup "$space"
  node_settings "$i" "$twin"
  rm -f "$dir/inside"
  spawn "$name.outer" "$BED_DIR/log/$name/node.log" "$HERE/lib/in-cgroup" "$space" nsenter --net="/run/netns/$space" -- \
    unshare --mount --uts --ipc --cgroup --pid --fork --kill-child --mount-proc --propagation slave \
    bash "$HERE/lib/inside.sh" "$dir" "$BED_DIR"
  await 20 "node $i does not start: see the log below" "$BED_DIR/log/$name/node.log" node_inside "$i"
  pgrep -P "$(pid_of "$name.outer")" | head -n 1 >"$BED_DIR/pid/$name"
  start_on_node "$i" kube-proxy --config="$dir/etc/kube-proxy.yaml"
  node_volumes "$i"
  echo "$twin" >"$BED_DIR/state/$name"
}

node_inside() {
  ! gone "$(node_name "$1").outer" || return 2
  [ -e "$(node_dir "$1")/inside" ]
}

node_network() { # number
  local i=$1 space j; space=$(node_space "$1")
  ip netns add "$space"
  ip -n "$space" link set lo up
  ip link add "${BED_NAME}n$i" netns "$CP" type veth peer name eth0 netns "$space"
  ip -n "$CP" link set "${BED_NAME}n$i" master br0 up
  ip -n "$space" addr add "$(node_address "$i")/24" dev eth0
  ip -n "$space" link set eth0 up
  ip -n "$space" route add default via "$GATEWAY"
  for j in $(seq $MAX_NODES); do
    [ "$j" = "$i" ] || ip -n "$space" route add "$(node_pods "$j")" via "$(node_address "$j")"
  done
  ip -n "$CP" route replace "$(node_pods "$i")" via "$(node_address "$i")"
  ip route replace "$(node_pods "$i")" via "$(node_address "$i")"
  nsenter --net="/run/netns/$space" sysctl -qw net.ipv4.ip_forward=1
  if [ "$(cat "$BED_DIR/state/cni")" = bridge ]; then half_enforced "$space"; fi
}

# Disables rules for traffic within the bridge. Services with an endpoint on the caller's node then need masquerading,
# or the answer would bypass the address translation.
half_enforced() { # network namespace
  nsenter --net="/run/netns/$1" bash -c '
    [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || sysctl -qw net.bridge.bridge-nf-call-iptables=0
    nft -f - <<NFT
table ip bed {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    iifname cni0 oifname cni0 ct status dnat masquerade
  }
}
NFT'
}

node_settings() { # number, twin: writes the configuration files of the node's programs
  local i=$1 name dir plugin; name=$(node_name "$1") dir=$(node_dir "$1")
  printf '%s-k%s' "$BED_NAME" "$2" | md5sum | cut -c1-32 >"$dir/etc/machine-id"
  cat /proc/sys/kernel/random/uuid >"$dir/etc/boot-id"
  echo "$name" >"$dir/etc/hostname"
  echo "nameserver 10.96.0.10" >"$dir/etc/resolv.conf"
  plugin='"type": "ptp"'
  if [ "$(cat "$BED_DIR/state/cni")" = bridge ]; then
    plugin='"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true'
  fi
  cat >"$dir/cni/10-bed.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "bed", "plugins": [
  {$plugin, "ipMasq": false, "ipam": {"type": "host-local", "ranges": [[{"subnet": "$(node_pods "$i")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  cat >"$dir/etc/containerd.toml" <<'TOML'
version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "bed.local/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
TOML
  # images come only from archives, so the kubelet must not collect any
  cat >"$dir/etc/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $BED_DIR/pki/ca.crt}, webhook: {enabled: true}}
authorization: {mode: Webhook}
tlsCertFile: $BED_DIR/pki/$name.crt
tlsPrivateKeyFile: $BED_DIR/pki/$name.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: /var/lib/kubelet/plugins-exec
resolvConf: $dir/etc/resolv.conf
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
makeIPTablesUtilChains: false
clusterDomain: cluster.local
clusterDNS: [10.96.0.10]
nodeStatusUpdateFrequency: 3s
imageGCHighThresholdPercent: 100
evictionHard: {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"}
YAML
  # the zeros stop kube-proxy from writing conntrack settings of the whole machine
  cat >"$dir/etc/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $BED_DIR/conf/kube-proxy.kubeconfig}
hostnameOverride: $name
mode: nftables
clusterCIDR: $BED_PODS.0.0/16
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
}

# Runs a command in a node's namespaces.
in_node() { # number, command...
  local pid; pid=$(pid_of "$(node_name "$1")"); shift
  nsenter -t "$pid" --net --mount --uts --ipc --pid -- "$@"
}

start_on_node() { # number, program, arguments...
  local i=$1 name program=$2; name=$(node_name "$1"); shift 2
  spawn "$name.$program" "$BED_DIR/log/$name/$program.log" "$HERE/lib/in-cgroup" "$(node_space "$i")" \
    nsenter -t "$(pid_of "$name")" --net --mount --uts --ipc --pid -- "$BIN/$program" "$@"
}

# Pid, as seen on this machine, of a program in a node. Programs in containers do not count.
pid_in_node() { # number, program
  local init; init=$(pid_of "$(node_name "$1")") && [ -d "/proc/$init" ] &&
    pgrep --ns "$init" --nslist pid -x "${2:0:15}" | head -n 1 | grep .
}

is_on() { [ -e "$BED_DIR/state/$(node_name "$1")" ]; }

nodes_on() { local i; for i in $(seq $MAX_NODES); do if is_on "$i"; then echo "$i"; fi; done; }

# Whether the node is Ready since its current start: after a power cut the API server still shows the earlier start
# for a while, so boot ID and machine ID must match.
node_ready() { # number
  local dir; dir=$(node_dir "$1")
  is_on "$1" || return 2
  [ "$(kube get node "$(node_name "$1")" -o "jsonpath={.status.nodeInfo.bootID} {.status.nodeInfo.machineID} {.status.conditions[?(@.type=='Ready')].status}" 2>/dev/null)" = \
    "$(cat "$dir/etc/boot-id") $(cat "$dir/etc/machine-id") True" ]
}

node_registered() {
  pid_in_node "$1" kubelet >/dev/null || [ ! -e "$(node_dir "$1")/kubelet-started" ] || return 2
  kube get node "$(node_name "$1")"
}

node_healthy() { # number
  local program
  for program in "${ON_NODE[@]}"; do pid_in_node "$1" "$program" >/dev/null || return 1; done
  if [ "$(policy_now)" != none ]; then pid_in_node "$1" kube-router >/dev/null || return 1; fi
  node_ready "$1"
}

# Waits for a node that was switched on, and starts the policy engine on it as soon as it has registered.
node_await() { # number
  local log; log=$BED_DIR/log/$(node_name "$1")
  await 180 "the kubelet of node $1 does not register: see the log below and bed logs k$1/containerd" "$log/kubelet.log" node_registered "$1"
  if [ "$(policy_now)" != none ]; then policy_on_node "$1"; fi
  await 120 "node $1 does not become Ready: see the log below and bed logs k$1/containerd" "$log/kubelet.log" node_ready "$1"
}

node_up() { node_on "$@"; node_await "$1"; } # number, number of its twin

nodes_up() { # numbers: all at once
  local i jobs=() bad=0
  for i; do node_up "$i" & jobs+=($!); done
  for i in "${jobs[@]}"; do wait "$i" || bad=1; done
  [ $bad = 0 ] || exit 1
}

# Power cut: kills everything in the node. Its disk stays.
node_off() { # number
  local name space pid; name=$(node_name "$1") space=$(node_space "$1")
  # the death of the first process ends all others; drop_cgroup finds the rest of a failed start
  if pid=$(pid_of "$name.outer") && alive "$name.outer" unshare; then kill -9 "$pid" 2>/dev/null || true; fi
  drop_cgroup "$space"
  [ ! -e "/run/netns/$CP" ] || ip -n "$CP" link del "${BED_NAME}n$1" 2>/dev/null || true
  drop_netns "$space"
  rm -f "$BED_DIR/pid/$name" "$BED_DIR/pid/$name".* "$BED_DIR/state/$name" "$(node_dir "$1")"/{inside,kubelet-started}
}
