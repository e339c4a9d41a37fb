# shellcheck shell=bash disable=SC2034
# Control plane in its own network namespace: etcd, API server, scheduler, controller manager, DNS.

network() {
  local taken
  taken=$(ip -4 -o addr show | awk -v a="$BED_NET.0.2/24" '$4 == a {print $2}')
  [ -z "$taken" ] || fail "interface $taken, perhaps of another bed, has the address $BED_NET.0.2: remove that bed, or set BED_NAME, BED_NET and BED_PODS"
  ip netns add "$CP"
  ip -n "$CP" link set lo up
  ip -n "$CP" link add br0 type bridge
  ip -n "$CP" addr add "$GATEWAY/24" dev br0
  ip -n "$CP" link set br0 up
  ip link add "${BED_NAME}host" type veth peer name host netns "$CP"
  ip -n "$CP" link set host master br0 up
  ip addr add "$BED_NET.0.2/24" dev "${BED_NAME}host"
  ip link set "${BED_NAME}host" up
  make_cgroup "$CP"
}

in_plane() { # name, command...: starts one program of the control plane
  local name=$1; shift
  spawn "$name" "$BED_DIR/log/$name.log" "$HERE/lib/in-cgroup" "$CP" nsenter --net="/run/netns/$CP" -- "$BIN/$name" "$@"
}

start_etcd() {
  in_plane etcd --data-dir "$BED_DIR/etcd" --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
}

start_kube_apiserver() {
  # block style, since the API server takes a file that begins with a brace for JSON
  cat >"$BED_DIR/conf/audit.yaml" <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
YAML
  [ -z "${BED_AUDIT:-}" ] || cp "$BED_AUDIT" "$BED_DIR/conf/audit.yaml"
  local pki=$BED_DIR/pki
  # the API server reaches webhooks at their endpoints (aggregator routing), since no kube-proxy runs here
  in_plane kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --bind-address=0.0.0.0 \
    --advertise-address="$GATEWAY" --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true --anonymous-auth=false \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --enable-aggregator-routing=true \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --service-account-issuer=https://kubernetes.default.svc \
    --kubelet-client-certificate="$pki/apiserver-kubelet.crt" --kubelet-client-key="$pki/apiserver-kubelet.key" \
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --default-not-ready-toleration-seconds=30 --default-unreachable-toleration-seconds=30 \
    --audit-policy-file="$BED_DIR/conf/audit.yaml" --audit-log-path="$BED_DIR/log/audit.log" --audit-log-maxsize=20000
}

start_kube_scheduler() {
  local config=$BED_DIR/conf/kube-scheduler.kubeconfig
  in_plane kube-scheduler --kubeconfig="$config" --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" \
    --leader-elect=false
}

start_kube_controller_manager() {
  local pki=$BED_DIR/pki config=$BED_DIR/conf/kube-controller-manager.kubeconfig
  in_plane kube-controller-manager --kubeconfig="$config" --authentication-kubeconfig="$config" \
    --authorization-kubeconfig="$config" --leader-elect=false --use-service-account-credentials \
    --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" --node-monitor-grace-period=15s \
    --flex-volume-plugin-dir="$BED_DIR/conf/flexvolume"
}

start_coredns() {
  cat >"$BED_DIR/conf/Corefile" <<CONF
.:53 {
    errors
    bind $GATEWAY
    ready $GATEWAY:8181
    kubernetes cluster.local {
        kubeconfig $BED_DIR/conf/coredns.kubeconfig
        ttl 1
    }
}
CONF
  in_plane coredns -conf "$BED_DIR/conf/Corefile"
}

plane() {
  start_etcd
  start_kube_apiserver
  start_kube_scheduler
  await 90 "the API server is not ready: see the log below, then run bed down and bed up" "$BED_DIR/log/kube-apiserver.log" api_ready
  # started earlier it would exit, since it needs a ConfigMap that the API server creates
  start_kube_controller_manager
  await 60 "the controller manager created no default ServiceAccount: see the log below" \
    "$BED_DIR/log/kube-controller-manager.log" accounts_made
}

api_ready() {
  ! gone etcd && ! gone kube-apiserver || return 2
  kube get --raw /readyz --request-timeout=2s
}

accounts_made() {
  ! gone kube-controller-manager || return 2
  kube get serviceaccount default
}

# DNS for pods: a Service with the usual address whose only endpoint is CoreDNS in the control plane.
dns() {
  sed "s/GATEWAY/$GATEWAY/" "$HERE/manifests/cluster.yaml" | kube apply -f - >/dev/null ||
    fail "the cluster's own objects could not be applied: see the error above"
  start_coredns
  await 30 "CoreDNS is not ready: see the log below" "$BED_DIR/log/coredns.log" dns_ready
}

dns_ready() {
  local answer
  ! gone coredns || return 2
  exec 3<>"/dev/tcp/$GATEWAY/8181" || return 1
  printf 'GET /ready HTTP/1.0\r\n\r\n' >&3
  read -r -t 2 answer <&3 || true
  exec 3>&-
  [[ $answer == *" 200 "* ]]
}

plane_healthy() {
  local name
  for name in "${PLANE[@]}"; do alive "$name" || return 1; done
  kube get --raw /readyz --request-timeout=3s >/dev/null 2>&1
}

plane_restart() {
  local name pids=() pid _
  for name in "${PLANE[@]}"; do
    if alive "$name"; then pids+=("$(pid_of "$name")"); fi
  done
  # kill -9, since the restart is to test a crash; with SIGTERM they would first wait for every watch to close
  for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do
    for _ in $(seq 50); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
  done
  plane
  dns
}
