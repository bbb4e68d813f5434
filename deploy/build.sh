#!/usr/bin/env bash
# Configures and builds a preset, and says all the while how far it is. What the compilers say goes to a log, whose end is
# shown when something fails.
#
# Usage: build.sh PRESET [-D...]... [TARGET...]        without a target: all of them
# Exit codes: 0 built, 1 not, 2 wrong usage.
set -euo pipefail

[[ $# -gt 0 && $1 != -* ]] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
preset=$1 && shift
options=() targets=()
for argument in "$@"; do
  case $argument in
    -D*) options+=("$argument") ;;
    *) targets+=("$argument") ;;
  esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tree=$root/build/$preset log=$root/build/$preset-build.log
# Seconds of one core that a step takes on average, without a compiler cache; measured, see cmake/decisions.
readonly step_seconds=4
began=$SECONDS

say() { printf '[%4ds] %s\n' "$((SECONDS - began + ${MUSTER_SECONDS:-0}))" "$*"; }

# Where a person looks on, one line that is overwritten; elsewhere a line every half a minute.
show() {
  if [[ -t 1 ]]; then printf '\r\033[K%s' "$(say "$*")"; else say "$*"; fi
}

fail() {
  [[ -t 1 ]] && echo
  tail -n 60 "$log" >&2
  echo "build: failed: $*; all of it is in $log" >&2
  exit 1
}

mkdir -p "$root/build"
cd "$root"
cmake --preset "$preset" "${options[@]}" >"$log" 2>&1 || fail "cmake --preset $preset"

steps=$(ninja -C "$tree" -n "${targets[@]}" 2>/dev/null | grep -c '^\[' || true)
if [[ $steps -eq 0 ]]; then
  say "preset $preset is built already"
else
  minutes=$(((steps * step_seconds / $(nproc) + 59) / 60))
  say "building preset $preset: $steps steps on $(nproc) cores, at most about $minutes min (log: ${log#"$root"/})"
fi

NINJA_STATUS='%f %t ' ninja -C "$tree" "${targets[@]}" >"$log" 2>&1 &
ninja=$!
trap 'kill "$ninja" 2>/dev/null || true' EXIT
interval=30
[[ ! -t 1 ]] || interval=1
shown=""
while timeout "$interval" tail --pid="$ninja" -f /dev/null; [[ -d /proc/$ninja ]]; do
  done_of=$(tail -c 4096 "$log" | tr '\r' '\n' | sed -n 's/^\([0-9]*\) \([0-9]*\) .*/\1 of \2/p' | tail -n 1)
  [[ -z $done_of || $done_of == "$shown" ]] || { show "building $done_of" && shown=$done_of; }
done
wait "$ninja" || fail "ninja -C build/$preset ${targets[*]}"
[[ ! -t 1 || -z $shown ]] || echo
trap - EXIT
[[ $steps -eq 0 ]] || say "built"
