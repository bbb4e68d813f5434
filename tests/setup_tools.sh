#!/usr/bin/env bash
# Makes what the integration tests need beside the build: build/venv with tests/integration/requirements.txt,
# grpcurl, versitygw, Hadoop, linearize and overload in build/tools. Does nothing, and needs no network, when all are there already.
#
# Usage: setup_tools.sh [--packages [--without-torch]]
#   --packages        install the Debian packages first; Go, Java and Maven where they are missing
#   --without-torch   but not python3-torch, without which test_torch.py does not run
set -euo pipefail

readonly grpcurl_version=v1.9.1 # The last one that Debian 12's Go 1.19 builds.
readonly versitygw_version=v1.8.0

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/build/venv
tools=$root/build/tools
requirements=$root/tests/integration/requirements.txt

fail() {
  echo "setup_tools: $*" >&2
  exit 1
}

# Runs a command; three times if it has to, since package indexes are far away.
with_retries() {
  local attempt
  for attempt in 1 2 3; do
    "$@" && return 0
    echo "setup_tools: attempt $attempt failed: $*" >&2
    sleep $((attempt * 2))
  done
  return 1
}

install_packages() {
  "$root/deploy/install_packages.sh" "$root/deploy/packages.txt" "$root/tests/packages.txt"
  local list
  list=$(mktemp)
  # Whatever version of these is in PATH will do.
  command -v go >/dev/null || echo golang-go >>"$list"
  command -v java >/dev/null || echo default-jre-headless >>"$list"
  command -v mvn >/dev/null || echo maven >>"$list"
  [[ ! -s $list ]] || "$root/deploy/install_packages.sh" "$list"
  rm -f "$list"
}

# More than all the others together, and one file of tests needs it.
install_torch() {
  [[ $(dpkg-query -W -f='${db:Status-Status}' python3-torch 2>/dev/null) != installed ]] || return 0
  echo "setup_tools: installing python3-torch, since test_torch.py compares with what the real torch writes and reads:" \
    "150 MB to fetch, 650 MB on disk, one to two minutes; --without-torch leaves it out"
  "$root/deploy/install_packages.sh" "$root/tests/packages-torch.txt"
}

# Prefers Debian's Python, for which python3-venv is installed, to whatever else is first in PATH.
pick_python() {
  local python
  for python in /usr/bin/python3 python3; do
    if command -v "$python" >/dev/null &&
      "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$python"
      return 0
    fi
  done
  fail "needs Python 3.11 or later with venv; run tests/setup_tools.sh --packages, or install python3-venv"
}

make_venv() {
  # The stamp is written last, so that a venv that was made by halves is made again.
  if [[ -x $venv/bin/python ]] && cmp -s "$requirements" "$venv/requirements.stamp" &&
    "$venv/bin/python" -c 'import pytest, grpc, safetensors' 2>/dev/null; then
    return 0
  fi
  local python
  python=$(pick_python)
  echo "setup_tools: making build/venv with $python"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  with_retries "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" ||
    fail "pip could not install $requirements"
  cp "$requirements" "$venv/requirements.stamp"
}

# Builds PACKAGE@VERSION as build/tools/NAME.
make_tool() {
  local name=$1 package=$2 version=$3
  if [[ -x $tools/$name && -f $tools/$name-$version.stamp ]]; then
    return 0
  fi
  command -v go >/dev/null || fail "needs Go for $name; run tests/setup_tools.sh --packages, or install golang-go"
  echo "setup_tools: building $name $version"
  mkdir -p "$tools"
  # GOFLAGS of the caller might name options that an older Go does not know.
  with_retries env GOFLAGS= GOBIN="$tools" go install "$package@$version" || fail "go install of $name $version failed"
  touch "$tools/$name-$version.stamp"
}

# Debian 12's Go neither builds the gateway nor fetches a Go that does; its tests then say that it is missing.
make_versitygw() {
  local minor
  minor=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
  if [[ ${minor:-0} -lt 21 ]]; then
    echo "setup_tools: versitygw is left out: it needs Go 1.21 or later"
    return 0
  fi
  make_tool versitygw github.com/versity/versitygw/cmd/versitygw "$versitygw_version"
}

# Hadoop's jars, by Maven.
make_hadoop() {
  local pom=$root/tests/integration/hadoop/pom.xml jars=$tools/hadoop
  if [[ -d $jars ]] && cmp -s "$pom" "$jars/pom.stamp"; then
    return 0
  fi
  command -v mvn >/dev/null || fail "needs Maven for Hadoop's jars; run tests/setup_tools.sh --packages, or install maven"
  echo "setup_tools: fetching Hadoop"
  rm -rf "$jars"
  with_retries mvn --quiet --batch-mode --file "$pom" dependency:copy-dependencies \
    -DincludeScope=runtime "-DoutputDirectory=$jars" || fail "Maven could not fetch what $pom names"
  cp "$pom" "$jars/pom.stamp"
}

# Our own tools, each a Go module below tests/integration that is pinned by its go.sum.
make_own() {
  local name=$1 sum
  local source=$root/tests/integration/$name stamp=$tools/$name.stamp
  sum=$(cat "$source"/*.go "$source"/go.* | sha256sum)
  if [[ -x $tools/$name && -f $stamp && $(<"$stamp") == "$sum" ]]; then
    return 0
  fi
  command -v go >/dev/null || fail "needs Go for $name; run tests/setup_tools.sh --packages, or install golang-go"
  echo "setup_tools: building $name"
  mkdir -p "$tools"
  with_retries env --chdir="$source" GOFLAGS= go build -o "$tools/$name" . || fail "go build of $source failed"
  echo "$sum" >"$stamp"
}

case "$*" in
  --packages)
    install_packages
    install_torch
    ;;
  "--packages --without-torch") install_packages ;;
  "") ;;
  *) fail "usage: tests/setup_tools.sh [--packages [--without-torch]]" ;;
esac
mkdir -p "$root/build"
make_venv
make_tool grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl "$grpcurl_version"
make_versitygw
make_hadoop
make_own linearize
make_own overload
