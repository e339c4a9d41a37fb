# shellcheck shell=bash disable=SC2034
# Packages and programs. Programs are built from Go modules and cached outside the checkout by a hash of their
# sources.

need_packages=(
  containerd:containerd runc:runc iptables:iptables nft:nftables ipset:ipset ip:iproute2
  conntrack:conntrack jq:jq openssl:openssl flock:util-linux pgrep:procps
  /usr/lib/cni/ptp:containernetworking-plugins /etc/ssl/certs/ca-certificates.crt:ca-certificates
)

deps() {
  local missing=() pair log=$BED_DIR.apt.log
  for pair in "${need_packages[@]}"; do
    command -v "${pair%%:*}" >/dev/null || [ -e "${pair%%:*}" ] || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  command -v apt-get >/dev/null || fail "apt-get is missing: install ${missing[*]} by hand and try again"
  {
    apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
  } </dev/null >"$log" 2>&1 || fail "${missing[*]} could not be installed: install them by hand and try again" "$log"
  rm -f "$log"
}

# Name of the module that pins the chosen Kubernetes release.
kubernetes_module() {
  local release=${E2E_KUBERNETES:-1.36}
  [ -e "$HERE/modules/kubernetes-$release/go.mod" ] ||
    fail "E2E_KUBERNETES=$release is not supported: set it to $(cd "$HERE/modules" && echo kubernetes-* | sed 's/kubernetes-//g; s/ / or /g')"
  echo "kubernetes-$release"
}

version_flags() { # module
  local version; version=$(awk '$2 == "k8s.io/kubernetes" {print $3}' "$HERE/modules/$1/go.mod")
  local minor=${version#v1.}
  echo "-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
}

# Calls its arguments once for each module, with module, linker flags and pairs of program=package.
programs() {
  local kubernetes; kubernetes=$(kubernetes_module) || exit 1
  "$@" etcd "-s -w" etcd=go.etcd.io/etcd/server/v3
  "$@" "$kubernetes" "-s -w $(version_flags "$kubernetes")" \
    kube-apiserver=k8s.io/kubernetes/cmd/kube-apiserver \
    kubelet=k8s.io/kubernetes/cmd/kubelet \
    kube-controller-manager=k8s.io/kubernetes/cmd/kube-controller-manager \
    kube-scheduler=k8s.io/kubernetes/cmd/kube-scheduler \
    kube-proxy=k8s.io/kubernetes/cmd/kube-proxy \
    kubectl=k8s.io/kubernetes/cmd/kubectl
  "$@" coredns "-s -w" coredns=.
  "$@" kube-router "-s -w" kube-router=.
  "$@" pause "-s -w" pause=.
}

# Folder of a module's built programs.
kept() { # module, flags
  local hash
  hash=$(cd "$HERE/modules/$1" && { cat go.mod go.sum *.go 2>/dev/null; echo "$2"; } | sha256sum | cut -c1-16)
  echo "$QUORUM_CACHE/bin/$1-$hash"
}

build() {
  mkdir -p "$QUORUM_CACHE/bin/current"
  programs build_module
  programs link_module "$QUORUM_CACHE/bin/current"
  pause_archive
}

build_module() { # module, flags, program=package...
  local module=$1 flags=$2 place program log; shift 2
  place=$(kept "$module" "$flags")
  for program; do
    [ -x "$place/${program%%=*}" ] || step "built ${program%%=*}" build_program "$module" "$flags" "$place" "$program"
  done
}

build_program() { # module, flags, place, program=package
  local name=${4%%=*} log
  command -v go >/dev/null || fail "go is not on the PATH: install Go 1.26 or newer and try again"
  mkdir -p "$3"
  log=$3/$name.log
  say "building $name"
  # builds to a temporary name and moves it, so that an interrupted build leaves no partial program; the linker drops
  # DWARF anyway (-s -w), so the compiler does not make it, which saves 7 % of the time
  (
    cd "$HERE/modules/$1" &&
      CGO_ENABLED=0 GOFLAGS='' GOWORK=off go build -buildvcs=false -gcflags=all=-dwarf=false -ldflags "$2" -o "$3/$name.$$" "${4#*=}" &&
      mv "$3/$name.$$" "$3/$name"
  ) </dev/null >"$log" 2>&1 || fail "$name could not be built: check that the Go module proxy is reachable, then run bed build again" "$log"
  rm -f "$log"
}

link_module() { # folder, module, flags, program=package...
  local folder=$1 place program
  place=$(kept "$2" "$3"); shift 3
  for program; do ln -sfn "$place/${program%%=*}" "$folder/${program%%=*}"; done
}

# Packs the pause image as a docker archive, which needs no manifest digest.
pause_archive() {
  local place work layer
  place=$(kept pause "-s -w")
  [ ! -e "$place/pause.tar" ] || return 0
  work=$(mktemp -d)
  cp "$place/pause" "$work/pause"
  tar -C "$work" --owner=0 --group=0 --mtime=@0 -cf "$work/layer.tar" pause
  layer=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","config":{"User":"65535:65535","Entrypoint":["/pause"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(go_arch)" "$layer" >"$work/config.json"
  printf '[{"Config":"config.json","RepoTags":["bed.local/pause:1"],"Layers":["layer.tar"]}]' >"$work/manifest.json"
  tar -C "$work" -cf "$place/pause.tar.$$" manifest.json config.json layer.tar
  mv "$place/pause.tar.$$" "$place/pause.tar"
  rm -rf "$work"
}

go_arch() { case $(uname -m) in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) uname -m ;; esac; }
