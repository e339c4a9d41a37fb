# Functions for the demo, the end-to-end suite and the benchmarks: timed steps, cluster, images, operator.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bed="$root/e2e/cluster/bed"
cache="${QUORUM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/quorum-operator}"
started=$SECONDS

step() { # title, command...: prints the title, runs the command and prints its duration
  local what=$1 from=$SECONDS; shift
  printf '==> %s\n' "$what"
  if ! "$@"; then
    printf 'FAILED after %s s: %s\n' $((SECONDS - from)) "$what" >&2
    exit 1
  fi
  printf '    %s s\n' $((SECONDS - from))
}

need_tools() { # checks the tools that the scripts do not install
  local tool
  for tool in cargo go; do
    command -v "$tool" >/dev/null || { echo "$tool is not on the PATH: install Rust (1.89 or newer) and Go (1.26 or newer) first" >&2; exit 1; }
  done
}

need() { # checks the requirements of the local cluster
  need_tools
  [ "$(id -u)" = 0 ] || { echo "run as root: the cluster creates network namespaces and mounts" >&2; exit 1; }
}

# Builds Go and Rust programs in parallel: while one tool chain links on one processor, the other compiles.
programs_and_images() {
  local cluster
  # in a separate process group, so that it can be ended as a whole
  setsid "$bed" build &
  cluster=$!
  trap 'kill -- "-$cluster" 2>/dev/null; exit 130' INT TERM
  local ended=0
  make -s -C "$root" images || { ended=1; kill -- "-$cluster" 2>/dev/null; }
  wait "$cluster" || ended=1
  trap - INT TERM
  return $ended
}

load_images() {
  # shellcheck source=/dev/null
  source "$cache/images/images.env"
  "$bed" image load "$cache"/images/*.tar
}

# Waits until the API server serves the CRD. It retries, since kubectl wait fails for a CRD that has no status yet.
definition_served() {
  local end=$((SECONDS + 60))
  until kubectl wait --for=condition=Established --timeout=10s crd/quorumnodes.quorum.security >/dev/null 2>&1; do
    ((SECONDS < end)) || { echo "the API server does not serve the CRD after 60 s" >&2; return 1; }
    sleep 0.2
  done
}

install_operator() { # namespaces to watch, separated by commas
  local watched=$1 namespace
  kubectl apply --server-side --force-conflicts -f "$root/crds/" >/dev/null
  definition_served || return 1
  kubectl apply -f "$root/config/rbac/role.yaml" -f "$root/config/rbac/cluster.yaml" >/dev/null
  sed -e "s|image: quorum-operator:dev|image: $OPERATOR_IMAGE|" \
      -e "s|quorum-guard:dev|$GUARD_IMAGE|" \
      -e "s|{name: WATCH_NAMESPACES, value: ledger}|{name: WATCH_NAMESPACES, value: \"$watched\"}|" \
      -e "s|{name: DNS_CIDRS, value: \"\"}|{name: DNS_CIDRS, value: \"${DNS_CIDRS-10.210.0.1/32}\"}|" \
      "$root/config/install/operator.yaml" | kubectl apply -f - >/dev/null
  for namespace in ${watched//,/ }; do
    kubectl create namespace "$namespace" --dry-run=client -o yaml | kubectl apply -f - >/dev/null 2>&1
    kubectl label --overwrite namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
    kubectl apply -n "$namespace" -f "$root/config/rbac/binding.yaml" >/dev/null
  done
  kubectl -n quorum-system rollout status deployment/quorum-operator --timeout=120s >/dev/null || {
    kubectl -n quorum-system get pods -o wide; kubectl -n quorum-system logs -l app.kubernetes.io/name=quorum-operator --prefix --tail=20; return 1; }
}

manager_keys() { # namespace, name of the Secret: creates a key pair in Tessera's formats
  local namespace=$1 name=$2 pem private public
  pem=$(openssl genpkey -algorithm X25519)
  private=$(openssl pkey -outform DER <<<"$pem" | tail -c 32 | base64 -w0)
  public=$(openssl pkey -pubout -outform DER <<<"$pem" | tail -c 32 | base64 -w0)
  kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Secret
metadata: {name: $name, namespace: $namespace}
immutable: true
stringData:
  tm.key: '{"type":"unlocked","data":{"bytes":"$private"}}'
  tm.pub: "$public"
YAML
}
