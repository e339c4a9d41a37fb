# shellcheck shell=bash disable=SC2034
# Static local volumes, since the cluster has no provisioner. Each is a directory on the node's disk.

VOLUMES=40
FOR_ONE_POD=34  # the last of these have mode ReadWriteOncePod, which the operator's claims need; no volume can combine it with another mode

node_volumes() { # number: creates the directories, and the PersistentVolumes if they are missing
  local i=$1 name dir n mode; name=$(node_name "$1") dir=$(node_dir "$1")/volumes
  for n in $(seq -w $VOLUMES); do mkdir -p -m 0777 "$dir/$n"; done
  ! kube get pv "bed-$name-01" >/dev/null 2>&1 || return 0
  for n in $(seq -w $VOLUMES); do
    mode=ReadWriteOnce
    [ "$((10#$n))" -le $((VOLUMES - FOR_ONE_POD)) ] || mode=ReadWriteOncePod
    cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: bed-$name-$n, labels: {bed/node: $name}}
spec:
  storageClassName: bed-local
  capacity: {storage: 4Gi}
  accessModes: [$mode]
  persistentVolumeReclaimPolicy: Retain
  local: {path: $dir/$n}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$name]}]}]}}
YAML
  done | kube create -f - >/dev/null || fail "node $i got no volumes: see the error above"
}

# Wipes volumes whose claims are deleted, and makes them available again.
recycle() {
  local name path
  need_up
  kube get pv -o json |
    jq -r '.items[] | select(.spec.storageClassName == "bed-local" and .status.phase == "Released") | "\(.metadata.name) \(.spec.local.path)"' |
    while read -r name path; do
      [[ $path == "$BED_DIR"/nodes/*/volumes/* ]] || continue
      find "$path" -mindepth 1 -delete
      chmod 0777 "$path" && chown 0:0 "$path"
      kube patch pv "$name" --type=json -p '[{"op": "remove", "path": "/spec/claimRef"}]' >/dev/null
      say "$name is available again"
    done
}
