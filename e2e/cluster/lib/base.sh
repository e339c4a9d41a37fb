# shellcheck shell=bash disable=SC2034
# Shared by all parts: names and paths, timed steps, bounded waits, detached processes, cgroups and namespaces.

BED_NAME=${BED_NAME:-bed}      # prefix of network namespaces, interfaces and cgroups
BED_NET=${BED_NET:-10.210}     # hosts: .0.1 control plane, .0.2 this machine, .0.11 to .0.14 the nodes
BED_PODS=${BED_PODS:-10.211}   # node I's pods: .I.0/24
BED_DIR=$(realpath -m "${BED_DIR:-${TMPDIR:-/tmp}/quorum-bed}")
QUORUM_CACHE=${QUORUM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/quorum-operator}
RECORD=/run/quorum-$BED_NAME   # holds the path of BED_DIR, even if that folder has been deleted

CP=$BED_NAME-cp                # network namespace and cgroup of the control plane
GATEWAY=$BED_NET.0.1
BIN=$BED_DIR/bin
MAX_NODES=4
PLANE=(etcd kube-apiserver kube-scheduler kube-controller-manager coredns)
ON_NODE=(containerd kubelet kube-proxy)

node_name() { echo "k$1"; }
node_space() { echo "$BED_NAME-k$1"; }
node_address() { echo "$BED_NET.0.1$1"; }
node_pods() { echo "$BED_PODS.$1.0/24"; }
node_dir() { echo "$BED_DIR/nodes/k$1"; }

say() { printf 'bed: %s\n' "$*"; }

fail() { # sentence, log file to show the end of
  printf 'bed: %s\n' "$1" >&2
  if [ -n "${2:-}" ] && [ -s "$2" ]; then
    printf -- '---- last lines of %s\n' "$2" >&2
    tail -n 15 "$2" | cut -c1-400 >&2
  fi
  exit 1
}

now() { echo "${EPOCHREALTIME/[.,]/}"; }

step() { # what, command...
  local what=$1 from took; shift
  from=$(now)
  "$@"
  took=$((($(now) - from) / 100000))
  printf 'bed: %-40s %5s s\n' "$what" "$((took / 10)).$((took % 10))"
}

# Polls a command. It gives up at once if the command exits with 2.
await() { # seconds, error message, log file, command...
  local seconds=$1 sentence=$2 log=$3 end answer; shift 3
  end=$((SECONDS + seconds))
  while [ $SECONDS -le $end ]; do
    answer=0
    "$@" >/dev/null 2>&1 || answer=$?
    case $answer in
      0) return 0 ;;
      2) break ;;
    esac
    sleep 0.15
  done
  fail "$sentence" "$log"
}

# Starts a process that inherits no terminal, pipe or lock from the caller.
spawn() { # name, log, command...
  local name=$1 log=$2; shift 2
  (
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      [ "$fd" -le 2 ] || eval "exec $fd>&-"
    done
    exec setsid "$@"
  ) </dev/null >>"$log" 2>&1 &
  echo $! >"$BED_DIR/pid/$name"
}

pid_of() { cat "$BED_DIR/pid/$1" 2>/dev/null; }

# Whether a process runs. Its program name must match too, since a pid file may be older than the last boot.
alive() { # name of the pid file, name of the program if it differs
  local pid program=${2:-$1}
  pid=$(pid_of "$1") && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "${program:0:15}" ]
}

# Whether a process has ended. A process that was just started is not gone, and not alive until it runs its program.
gone() { [ ! -d "/proc/$(pid_of "$1")" ]; }

kube() { KUBECONFIG=$BED_DIR/kubeconfig KUBECACHEDIR=$BED_DIR/cache "$BIN/kubectl" "$@"; }

# Mount points of the cgroup hierarchies: one with version 2, one per controller with version 1.
cgroup_roots() { awk '$3 == "cgroup" || $3 == "cgroup2" {print $2}' /proc/mounts | grep '^/sys/fs/cgroup'; }

make_cgroup() { # name
  local root controller
  for root in $(cgroup_roots); do
    mkdir -p "$root/$1"
    # a new cpuset of cgroup version 1 is empty, so nothing could run in it
    if [ -e "$root/$1/cpuset.mems" ] && [ -e "$root/$1/cgroup.clone_children" ]; then
      cat "$root/cpuset.cpus" >"$root/$1/cpuset.cpus"
      cat "$root/cpuset.mems" >"$root/$1/cpuset.mems"
      echo 1 >"$root/$1/cgroup.clone_children"
    fi
    # version 2 passes on only the controllers that are enabled here
    for controller in $(cat "$root/cgroup.controllers" 2>/dev/null); do
      echo "+$controller" 2>/dev/null >"$root/cgroup.subtree_control" || true
    done
  done
}

cgroup_pids() { # name
  local root
  for root in $(cgroup_roots); do
    [ -d "$root/$1" ] && find "$root/$1" -name cgroup.procs -exec cat {} + 2>/dev/null
  done | sort -u | grep -vx 0
}

drop_cgroup() { # name: kills its processes and removes it
  local root pids _
  for _ in $(seq 100); do
    pids=$(cgroup_pids "$1") || true
    [ -n "$pids" ] || break
    kill -9 $pids 2>/dev/null || true
    sleep 0.05
  done
  for _ in $(seq 40); do
    for root in $(cgroup_roots); do
      [ ! -d "$root/$1" ] || find "$root/$1" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done
    for root in $(cgroup_roots); do [ ! -d "$root/$1" ] || { sleep 0.05; continue 2; }; done
    return 0
  done
  fail "cgroup $1 cannot be removed: list its processes with: cat /sys/fs/cgroup/*/$1/cgroup.procs"
}

drop_netns() { # name: kills its processes and removes it
  local pids _
  ip netns list | cut -d' ' -f1 | grep -qx "$1" || return 0
  for _ in $(seq 100); do
    pids=$(ip netns pids "$1" 2>/dev/null) || true
    [ -n "$pids" ] || break
    kill -9 $pids 2>/dev/null || true
    sleep 0.05
  done
  ip netns del "$1"
}
