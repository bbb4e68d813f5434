#!/usr/bin/env bash
# Installs what is missing, builds, and runs a group of benchmarks. Times never make it fail.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tests/bench/run.sh GROUP [--json FILE] [--quick] [--size-gib N] [--work-dir DIR] [--only PART,...]

  GROUP           control_plane, data_path, security
  --json FILE     also write the rows as JSON
  --quick         smaller and shorter, under 2 minutes: to see that it works, not for figures to quote
  --size-gib N    data_path: size of the checkpoint (default: 4, with --quick 0.5)
  --work-dir DIR  where data goes, on a real disk (default: TMPDIR or /var/tmp); removed at the end
  --only PART,... parts of the group: unary, placement, fanout, scale, recovery; md5, encoding, end, file, disk, http, load, publish, s3, hdfs;
                  calls, decisions, policy, watches

Exit codes: 0 ran (each row is measured or says why not), 1 broke, 2 wrong usage.
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
case ${1:-} in
  control_plane | data_path | security) ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 2 ;;
esac

cd "$root"
deploy/install_packages.sh deploy/packages.txt tests/packages.txt tests/bench/packages.txt
mkdir -p build
{
  cmake --preset release -DMUSTER_BUILD_TESTS=ON &&
    cmake --build --preset release --target musterd muster benchmarks
} >build/bench-build.log 2>&1 || { tail -n 40 build/bench-build.log >&2 && exit 1; }
exec python3 "tests/bench/$1.py" --bin-dir build/release "${@:2}"
