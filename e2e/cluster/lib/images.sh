# shellcheck shell=bash disable=SC2034
# Images: imports archives into every node's containerd and stores them for nodes that are added later.

image_load() { # files...
  local file sum count kept i jobs=() bad=0
  need_up
  [ $# -gt 0 ] || fail "bed image load needs archives: bed image load FILE.tar..."
  for file; do
    [ -r "$file" ] || fail "$file cannot be read: build it first"
    sum=$(sha256sum "$file" | cut -c1-20)
    kept=$(compgen -G "$BED_DIR/images/*-$sum-*.tar" || true)
    [ -z "$kept" ] || continue
    count=$(find "$BED_DIR/images" -name '*.tar' | wc -l)
    kept=$BED_DIR/images/$(printf '%04d' "$count")-$sum-$(basename "$file" .tar).tar
    cp --reflink=auto "$file" "$kept.part" && mv "$kept.part" "$kept"
  done
  for i in $(nodes_on); do image_load_node "$i" & jobs+=($!); done
  for i in "${jobs[@]}"; do wait "$i" || bad=1; done
  [ $bad = 0 ] || exit 1
}

image_load_node() { # number
  local log; log=$BED_DIR/log/$(node_name "$1")/images.log
  in_node "$1" bash "$HERE/lib/load-images.sh" "$BED_DIR/images" "$(node_dir "$1")/loaded" >>"$log" 2>&1 </dev/null ||
    fail "an image could not be imported on node $1: it must be an OCI layout or docker archive, packed as tar" "$log"
}
