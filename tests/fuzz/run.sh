#!/usr/bin/env bash
# Builds the fuzz targets with clang, and runs each for a while from its seeds. Ends with the first finding.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tests/fuzz/run.sh [--seconds N] [TARGET...]

  --seconds N  how long each target runs (default: 600)
  TARGET       access_policy, assigned_shards, frame_table, hdfs_reply, md5_lanes,
               s3_reply, safetensors_header, torch_pickle, zip_directory (default: all)

What was learnt stays in build/fuzz/corpus; a finding is left in build/fuzz/findings.
Exit codes: 0 no finding, 1 a finding or a broken build, 2 wrong usage.
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
known=(access_policy assigned_shards frame_table hdfs_reply md5_lanes s3_reply safetensors_header torch_pickle zip_directory)
seconds=600
targets=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --seconds) [[ $# -ge 2 ]] || { usage >&2 && exit 2; }; seconds=$2 && shift 2 ;;
    -h | --help) usage && exit 0 ;;
    *)
      [[ " ${known[*]} " == *" $1 "* ]] || { usage >&2 && exit 2; }
      targets+=("$1") && shift
      ;;
  esac
done
[[ ${#targets[@]} -gt 0 ]] || targets=("${known[@]}")

cd "$root"
deploy/install_packages.sh deploy/packages.txt tests/fuzz/packages.txt
mkdir -p build
{ cmake --preset fuzz && cmake --build --preset fuzz; } >build/fuzz-build.log 2>&1 ||
  { tail -n 40 build/fuzz-build.log >&2 && exit 1; }
mkdir -p build/fuzz/findings
for target in "${targets[@]}"; do
  mkdir -p "build/fuzz/corpus/$target"
  echo "== $target, $seconds s"
  "build/fuzz/fuzz/${target}_fuzz" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -max_len=4096 \
    -artifact_prefix="build/fuzz/findings/$target-" -print_final_stats=1 \
    "build/fuzz/corpus/$target" "tests/fuzz/seeds/$target" 2>&1 | grep -vE '^#[0-9]+.*(NEW|REDUCE|pulse|RELOAD)'
done
