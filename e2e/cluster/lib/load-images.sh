#!/usr/bin/env bash
# Inside a node: imports the archives it has not got yet, oldest first, so that a name means the last one.
# load-images.sh ARCHIVES LOADED
for archive in "$1"/*.tar; do
  mark=$2/$(basename "$archive" .tar)
  [ -e "$archive" ] && [ ! -e "$mark" ] || continue
  ctr -n k8s.io images import "$archive" || exit 1
  touch "$mark"
done
