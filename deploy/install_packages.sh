#!/usr/bin/env bash
# Installs the Debian packages that the given lists name, those that are missing only: with nothing missing
# it needs neither a network nor root.
#
# Usage: install_packages.sh LIST...
set -euo pipefail

fail() {
  echo "install_packages: $*" >&2
  exit 1
}

[[ $# -gt 0 ]] || fail "name at least one list of packages, for instance deploy/packages.txt"

wanted=()
for list in "$@"; do
  [[ -r $list ]] || fail "can't read $list"
  while read -r package; do
    wanted+=("$package")
  done < <(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$list")
done

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
  fail "this is not a Debian system; install by hand the packages that $* list (with Debian 12's names)"

# One call for all; those that dpkg has never heard of are reported on stderr only.
installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
  sed -n 's/^installed //p') || true
missing=()
for package in "${wanted[@]}"; do
  grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null ||
    fail "not root and no sudo; as root run: apt-get install --no-install-recommends ${missing[*]}"
  as_root=(sudo)
fi
printf '[%4ds] installing %d Debian packages: %s\n' "${MUSTER_SECONDS:-0}" \
  "${#missing[@]}" "${missing[*]}"
run_apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { run_apt update && run_apt install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  fail "apt-get could not install ${missing[*]}; its last lines are above"
fi
