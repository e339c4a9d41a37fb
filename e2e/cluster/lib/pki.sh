# shellcheck shell=bash disable=SC2034
# Certificates and kubeconfigs. One CA signs all of them; every program has its own user name.

pki() {
  local dir=$BED_DIR/pki
  mkdir -p -m 0700 "$dir" "$BED_DIR/conf"
  (cd "$dir" && openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
    -keyout ca.key -out ca.crt -subj "/CN=$BED_NAME-ca" 2>/dev/null &&
    openssl genrsa -out sa.key 2048 2>/dev/null && openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null) ||
    fail "openssl could not create a CA: it must be version 3 or newer"
  certificate apiserver /CN=kube-apiserver serverAuth \
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:$GATEWAY"
  certificate apiserver-kubelet /O=system:masters/CN=apiserver-kubelet clientAuth
  certificate admin /O=system:masters/CN=admin clientAuth
  certificate kube-controller-manager /CN=system:kube-controller-manager clientAuth
  certificate kube-scheduler /CN=system:kube-scheduler clientAuth
  certificate kube-proxy /CN=system:kube-proxy clientAuth
  certificate kube-router /CN=bed:kube-router clientAuth
  certificate coredns /CN=bed:coredns clientAuth
  kubeconfig admin "$GATEWAY" "$BED_DIR/kubeconfig"
  local name
  for name in kube-controller-manager kube-scheduler coredns; do
    kubeconfig $name 127.0.0.1 "$BED_DIR/conf/$name.kubeconfig"
  done
  for name in kube-proxy kube-router; do kubeconfig $name "$GATEWAY" "$BED_DIR/conf/$name.kubeconfig"; done
}

node_identity() { # number
  local name; name=$(node_name "$1")
  [ ! -e "$BED_DIR/conf/$name.kubeconfig" ] || return 0
  certificate "$name" "/O=system:nodes/CN=system:node:$name" "clientAuth,serverAuth" "DNS:$name,IP:$(node_address "$1")"
  kubeconfig "$name" "$GATEWAY" "$BED_DIR/conf/$name.kubeconfig"
}

certificate() { # name, subject, usages, alternative names
  local names=()
  [ -z "${4:-}" ] || names=(-addext "subjectAltName=$4")
  (cd "$BED_DIR/pki" && openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -CA ca.crt -CAkey ca.key \
    -days 365 -keyout "$1.key" -out "$1.crt" -subj "$2" -addext basicConstraints=critical,CA:false \
    -addext keyUsage=critical,digitalSignature -addext "extendedKeyUsage=$3" "${names[@]}" 2>/dev/null) ||
    fail "openssl could not create a certificate for $1: it must be version 3 or newer"
}

kubeconfig() { # certificate, server, file
  (
    umask 077
    cat >"$3" <<YAML
apiVersion: v1
kind: Config
current-context: bed
clusters:
- name: bed
  cluster: {server: "https://$2:6443", certificate-authority-data: "$(base64 -w0 "$BED_DIR/pki/ca.crt")"}
users:
- name: $1
  user: {client-certificate-data: "$(base64 -w0 "$BED_DIR/pki/$1.crt")", client-key-data: "$(base64 -w0 "$BED_DIR/pki/$1.key")"}
contexts:
- name: bed
  context: {cluster: bed, user: $1}
YAML
  )
}
