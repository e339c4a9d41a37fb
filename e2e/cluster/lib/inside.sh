#!/usr/bin/env bash
# First process of a node, inside its namespaces: mounts the file systems of a separate machine, starts containerd,
# loads the images, starts the kubelet and reaps orphaned processes.
# inside.sh FOLDER-OF-THE-NODE FOLDER-OF-THE-BED
set -euo pipefail
dir=$1 bed=$2 name=$(cat "$1/etc/hostname") log=$2/log/${1##*/}
hostname "$name"
mount --make-rshared /

mount -t sysfs sysfs /sys
if [ -s /proc/self/cgroup ] && [ "$(wc -l </proc/self/cgroup)" = 1 ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  # a cgroup that passes controllers on may have no processes of its own
  mkdir -p /sys/fs/cgroup/init
  while read -r pid; do echo "$pid" >/sys/fs/cgroup/init/cgroup.procs || true; done </sys/fs/cgroup/cgroup.procs
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
  done
else
  mount -t tmpfs tmpfs /sys/fs/cgroup
  while IFS=: read -r _ controllers _; do
    [ -n "$controllers" ] || continue
    options=$controllers place=${controllers#name=}
    [ "$place" = "$controllers" ] || options="none,$controllers"
    mkdir "/sys/fs/cgroup/$place"
    mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$place"
    for one in ${place//,/ }; do [ -e "/sys/fs/cgroup/$one" ] || ln -s "$place" "/sys/fs/cgroup/$one"; done
  done </proc/self/cgroup
fi

mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/netns
while read -r from to; do mount --bind "$dir/$from" "$to"; done <<'PLACES'
kubelet /var/lib/kubelet
containerd /var/lib/containerd
cnilib /var/lib/cni
cni /etc/cni/net.d
podlogs /var/log/pods
ctrlogs /var/log/containers
PLACES
mount --make-rshared /var/lib/kubelet

# the kubelet reports these as machine ID, boot ID and system UUID, so that the node counts as a separate machine
mount --bind "$dir/etc/machine-id" /etc/machine-id
mount --bind "$dir/etc/boot-id" /proc/sys/kernel/random/boot_id
[ ! -e /sys/class/dmi/id/product_uuid ] || mount --bind "$dir/etc/machine-id" /sys/class/dmi/id/product_uuid
touch "$dir/inside"

containerd -c "$dir/etc/containerd.toml" >>"$log/containerd.log" 2>&1 &
for _ in $(seq 300); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
bash "$(dirname "$0")/load-images.sh" "$bed/images" "$dir/loaded"
"$bed/bin/kubelet" --config="$dir/etc/kubelet.yaml" --kubeconfig="$bed/conf/$name.kubeconfig" --hostname-override="$name" \
  --node-ip="$(ip -4 -o addr show dev eth0 | awk '{sub("/.*", "", $4); print $4}')" >>"$log/kubelet.log" 2>&1 &
sleep 0.2
touch "$dir/kubelet-started"
while :; do wait -n || true; sleep 0.2; done
