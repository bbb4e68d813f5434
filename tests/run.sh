#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests. Ends with a line that counts them.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tests/run.sh [--asan | --tsan | --all]

  (nothing)  release build; every label: unit, contract, simulation, integration
  --asan     address and undefined behaviour sanitizers; every label but integration
  --tsan     thread sanitizer; every label but integration
  --all      the three of them, one after the other

Exit codes: 0 all passed, 1 not, 2 wrong usage. With CI=true a test that can't run fails instead of being skipped.
TEXT
}

presets=(release)
case ${1:-} in
  "") ;;
  --asan) presets=(asan) ;;
  --tsan) presets=(tsan) ;;
  --all) presets=(release asan tsan) ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 2 ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
passed=0 failed=0 skipped=0

say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

# Adds what ctest's report of a preset counts.
count() {
  local report=$1 tests failures not_run
  tests=$(grep -c '<testcase ' "$report" || true)
  failures=$(grep -c '<testcase [^>]*status="fail"' "$report" || true)
  not_run=$(grep -c '<testcase [^>]*status="\(notrun\|disabled\)"' "$report" || true)
  passed=$((passed + tests - failures - not_run))
  failed=$((failed + failures))
  skipped=$((skipped + not_run))
}

# The names of the cases that failed, and what each had expected.
say_what_failed() {
  local log=$1
  say "what failed, from $log:"
  grep -E '^(\[  FAILED  \] [^ ]+\.|FAILED |ERROR )' "$log" | sort -u | head -n 20 || true
  grep -E -A 4 '(: Failure$|^E  |Sanitizer: )' "$log" | head -n 60 || true
}

run_preset() {
  local preset=$1 labels=() report=$root/build/$1/ctest.xml code=0
  [[ $preset == release ]] || labels=(--label-exclude integration)
  MUSTER_SECONDS=$SECONDS "$root/deploy/build.sh" "$preset" -DMUSTER_BUILD_TESTS=ON || return 1
  say "testing preset $preset"
  rm -f "$report"
  # Two at a time; but for the integration tests, which start many processes of their own.
  ctest --test-dir "$root/build/$preset" --parallel 2 --output-on-failure --no-tests=error --output-junit "$report" \
    "${labels[@]}" || code=1
  [[ -s $report ]] && count "$report"
  # A long output may have been cut where it is shown.
  [[ $code -eq 0 ]] || say_what_failed "$root/build/$preset/Testing/Temporary/LastTest.log"
  return "$code"
}

mkdir -p build
say "installing packages and tools"
# Only an integration test takes PyTorch, and the sanitizers' presets run none.
without=(--without-torch)
[[ " ${presets[*]} " != *" release "* ]] || without=()
tests/setup_tools.sh --packages "${without[@]}"
result=0
for preset in "${presets[@]}"; do
  run_preset "$preset" || { result=1 && say "preset $preset failed"; }
done
# A build that failed ran no test, and must not look like a run without failures.
[[ $result -eq 0 || $failed -gt 0 ]] || failed=1
say "done"
echo "$passed passed, $failed failed, $skipped skipped"
exit "$result"
