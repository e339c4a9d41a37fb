#!/usr/bin/env bash
# Runs inside a node: imports new archives, oldest first, so that a name refers to the newest image.
# load-images.sh ARCHIVES LOADED
for archive in "$1"/*.tar; do
  mark=$2/$(basename "$archive" .tar)
  [ -e "$archive" ] && [ ! -e "$mark" ] || continue
  ctr -n k8s.io images import "$archive" || exit 1
  touch "$mark"
done
