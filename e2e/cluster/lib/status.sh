# shellcheck shell=bash disable=SC2034
# Status of nodes and programs, and logs.

status() {
  local json; json=$(status_json)
  case "${*:-}" in
    "-o json" | "-ojson") echo "$json"; return ;;
    "") ;;
    *) fail "bed status takes only -o json" ;;
  esac
  jq -r '
    def mark: if . then "runs" else "DEAD" end;
    if .up | not then "no bed is up in \(.dir): bed up" else
      "folder       \(.dir)", "kubeconfig   \(.kubeconfig)", "policy       \(.policy)", "images       \(.images)",
      "control plane",
      (.plane | to_entries[] | "  \(.key): \(.value | mark)"),
      (.nodes[] | "node \(.number) (\(.name))  \(if .on | not then "off" elif .ready then "Ready" else "NOT READY" end)\(if .on and .machineIdOf != .number then "  reports the machine id of node \(.machineIdOf)" else "" end)",
        if .on then (.programs | to_entries[] | "  \(.key): \(.value | mark)") else empty end)
    end' <<<"$json"
}

status_json() {
  local name i program plane='{}' nodes='[]' programs up=false policy=
  [ ! -e "$BED_DIR/state/options" ] || up=true
  policy=$(cat "$BED_DIR/state/policy" 2>/dev/null) || true
  for name in "${PLANE[@]}"; do
    plane=$(jq --arg n "$name" --argjson v "$(truth alive "$name")" '.[$n] = $v' <<<"$plane")
  done
  for i in $(seq $MAX_NODES); do
    [ -d "$(node_dir "$i")" ] || continue
    programs='{}'
    for program in "${ON_NODE[@]}" kube-router; do
      [ "$program:$policy" != kube-router:none ] || continue
      programs=$(jq --arg n "$program" --argjson v "$(truth pid_in_node "$i" "$program")" '.[$n] = $v' <<<"$programs")
    done
    nodes=$(jq --argjson i "$i" --arg name "$(node_name "$i")" --argjson on "$(truth is_on "$i")" --argjson ready "$(truth node_ready "$i")" \
      --argjson twin "$(cat "$BED_DIR/state/$(node_name "$i")" 2>/dev/null || echo "$i")" --argjson programs "$programs" \
      '. + [{number: $i, name: $name, on: $on, ready: $ready, machineIdOf: $twin, programs: $programs}]' <<<"$nodes")
  done
  jq -n --argjson up $up --arg dir "$BED_DIR" --arg policy "$policy" --argjson plane "$plane" --argjson nodes "$nodes" \
    --argjson images "$(find "$BED_DIR/images" -name '*.tar' 2>/dev/null | wc -l)" \
    '{up: $up, dir: $dir, kubeconfig: ($dir + "/kubeconfig"), policy: $policy, images: $images, plane: $plane, nodes: $nodes}'
}

truth() { if "$@" >/dev/null 2>&1; then echo true; else echo false; fi; }

logs() { # component, arguments of tail
  local name=${1:-} file
  [ $# = 0 ] || shift
  case $name in apiserver) name=kube-apiserver ;; scheduler) name=kube-scheduler ;; kcm | controller-manager) name=kube-controller-manager ;; esac
  for file in "$BED_DIR/log/$name.log" "$BED_DIR/log/$name"; do
    if [ -n "$name" ] && [ -f "$file" ]; then
      if [ $# -gt 0 ]; then tail "$@" "$file"; else tail -n 200 "$file"; fi
      return
    fi
  done
  fail "bed logs needs one of: $(cd "$BED_DIR/log" 2>/dev/null && find . -name '*.log' -printf '%P\n' | sed 's/\.log$//' | sort | tr '\n' ' ')"
}
