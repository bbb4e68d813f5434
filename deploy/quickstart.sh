#!/usr/bin/env bash
# From a fresh Debian 12 machine to a model that is READY: installs the packages, builds, runs a server and agents on
# this machine, publishes a checkpoint, waits for the barrier, assembles, makes a view as serving engines open it, and
# compares both with the source.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: deploy/quickstart.sh [CHECKPOINT] [--agents N] [--shards N] [--strategy S] [--secure] [--keep]
                            [--work-dir DIR]

  CHECKPOINT      a safetensors file, a directory in the Hugging Face layout, or with --strategy raw any file
                  (default: a sample of 256 MiB is made)
  --agents N      agent processes, each a node of its own (default 3)
  --shards N      shards to cut the checkpoint into (default 8)
  --strategy S    layer, type, uniform or raw (default layer)
  --secure        with certificates: `musterd --secure` makes them, each agent has one of its own, calls are encrypted
  --keep          leave the server and the agents running until Ctrl-C, to look around
  --work-dir DIR  where shards, caches and the assembled model go; needs room for four copies of the checkpoint
                  (default: a directory below TMPDIR or /tmp); it is removed at the end

Exit codes: 0 READY and identical, 1 not, 2 wrong usage.
TEXT
}

wrong_usage() {
  echo "quickstart: $*" >&2
  usage >&2
  exit 2
}

checkpoint="" agents=3 shards=8 strategy=layer secure=no keep=no work_parent=${TMPDIR:-/tmp}
while [[ $# -gt 0 ]]; do
  case $1 in
    --agents | --shards | --strategy | --work-dir)
      [[ $# -ge 2 ]] || wrong_usage "$1 needs a value"
      case $1 in
        --agents) agents=$2 ;;
        --shards) shards=$2 ;;
        --strategy) strategy=$2 ;;
        --work-dir) work_parent=$2 ;;
      esac
      shift 2
      ;;
    --secure) secure=yes && shift ;;
    --keep) keep=yes && shift ;;
    -h | --help) usage && exit 0 ;;
    -*) wrong_usage "unknown option $1" ;;
    *)
      [[ -z $checkpoint ]] || wrong_usage "one checkpoint only: $checkpoint and $1"
      checkpoint=$1 && shift
      ;;
  esac
done
[[ $agents =~ ^[1-9][0-9]{0,2}$ ]] || wrong_usage "--agents $agents: 1 to 999"
[[ $shards =~ ^[1-9][0-9]{0,4}$ ]] || wrong_usage "--shards $shards: 1 to 99999"
[[ $strategy =~ ^(layer|type|uniform|raw)$ ]] || wrong_usage "--strategy $strategy: layer, type, uniform or raw"
[[ -z $checkpoint || -e $checkpoint ]] || wrong_usage "$checkpoint: no such file or directory"
[[ -z $checkpoint ]] || checkpoint=$(realpath -- "$checkpoint")

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/build/release/bin
work="" authority="" server_pid="" agent_pids=() followed=""

say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

stop_all() {
  local pid
  for pid in "${agent_pids[@]}" $server_pid; do
    kill -TERM "$pid" 2>/dev/null || true
  done
  for pid in "${agent_pids[@]}" $server_pid; do
    # Whoever does not stop by itself within 10 s is killed.
    timeout 10 tail --pid="$pid" -f /dev/null || kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  agent_pids=() server_pid=""
}

clean_up() {
  local code=$?
  trap - EXIT INT TERM
  if [[ $code -ne 0 && -n $work ]]; then
    echo "quickstart: failed; the ends of the logs:" >&2
    for log in "$work"/*.log; do
      [[ -s $log ]] && { echo "--- ${log##*/}" && tail -n 15 "$log"; } >&2
    done
  fi
  stop_all
  [[ -z $work ]] || rm -rf -- "$work"
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command with its output in a log that is shown only if the command fails.
quietly() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    echo "quickstart: failed: $*" >&2
    exit 1
  }
}

# Waits until file $1 has content; gives up when process $2 ends, or after 30 s.
await_file() {
  local tries
  for ((tries = 0; tries < 600; ++tries)); do
    [[ -s $1 ]] && return 0
    kill -0 "$2" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}

build() {
  MUSTER_SECONDS=$SECONDS "$root/deploy/install_packages.sh" "$root/deploy/packages.txt"
  # Without tests: that is half of the work, and of the packages.
  MUSTER_SECONDS=$SECONDS "$root/deploy/build.sh" release -DMUSTER_BUILD_TESTS=OFF musterd muster
}

start_server() {
  local flags=()
  [[ $secure == no ]] || flags=(--secure)
  "$bin/musterd" --data-dir "$work/data" --listen 127.0.0.1:0 --address-file "$work/address" "${flags[@]}" \
    >"$work/musterd.log" 2>&1 &
  server_pid=$!
  await_file "$work/address" "$server_pid" || { echo "quickstart: musterd did not start" >&2 && exit 1; }
  MUSTER_SERVER=$(<"$work/address")
  export MUSTER_SERVER
  if [[ $secure == yes ]]; then
    authority=$work/data/tls/authority
    export MUSTER_TLS_CA=$authority/ca.crt MUSTER_TLS_CERT=$authority/admin.crt MUSTER_TLS_KEY=$authority/admin.key
  fi
}

# Starts the agent of node $1 with the flags that follow; with --secure under a certificate of its own.
start_agent() {
  local node=$1 own=()
  shift
  if [[ $secure == yes ]]; then
    local files=$work/tls-$node
    quietly "$work/certs-$node.log" "$bin/muster" certs issue "node/$node" --ca "$authority" --out "$files"
    own=(--tls-ca "$files/ca.crt" --tls-cert "$files/$node.crt" --tls-key "$files/$node.key")
  fi
  "$bin/muster" agent --node "$node" "${own[@]}" "$@" >"$work/agent-$node.log" 2>&1 &
  agent_pids+=($!)
}

start_agents() {
  local i
  # Agents read no files but those below what is named.
  export MUSTER_ALLOW_LOCATION=file://$work
  for ((i = 1; i <= agents; ++i)); do
    start_agent "n$i" --assembly demo --cache "$work/cache-n$i"
  done
}

# A node that holds the whole model, in a cache that holds a part of it already, and the directory that an engine opens.
show_view() {
  quietly "$work/create-view.log" "$bin/muster" assemblies create serve --model quickstart@v1 --policy full
  start_agent view --assembly serve --cache "$work/cache-n1" \
    --view "$work/view" --on-ready "echo \"\$MUSTER_VIEW\" >'$work/view-ready'"
  quietly "$work/wait-view.log" "$bin/muster" wait serve --timeout 600s
  await_file "$work/view-ready" "${agent_pids[-1]}" || { echo "quickstart: the view did not appear" >&2 && exit 1; }
  "$root/deploy/compare_checkpoints.py" "$checkpoint" "$(<"$work/view-ready")"
  say "view, identical: $work/view -> $(readlink "$work/view")"
  "$bin/muster" view list "$work/view"
}

show_grpcurl() {
  local request='{"name":"assemblies/demo","shard":0}'
  local ends=(-plaintext)
  [[ $secure == no ]] || ends=(-cacert "$MUSTER_TLS_CA" -cert "$MUSTER_TLS_CERT" -key "$MUSTER_TLS_KEY")
  local arguments="${ends[*]} -d '$request' $MUSTER_SERVER muster.v1.AssemblyService/GetShardStatus"
  echo "To ask the server yourself (with --keep it stays up):"
  echo "  grpcurl $arguments"
  local grpcurl
  grpcurl=$(PATH=$PATH:$root/build/tools type -P grpcurl) || return 0
  "$grpcurl" "${ends[@]}" -d "$request" "$MUSTER_SERVER" muster.v1.AssemblyService/GetShardStatus | sed 's/^/  /'
}

build
mkdir -p -- "$work_parent"
work=$(mktemp -d -- "$work_parent/muster-quickstart.XXXXXX")
if [[ -z $checkpoint ]]; then
  checkpoint=$work/sample.safetensors
  say "making a sample checkpoint"
  quietly "$work/sample.log" "$bin/muster" sample --out "$checkpoint" --size 256MiB
fi

start_server
say "musterd serves on $MUSTER_SERVER; publishing $checkpoint, strategy $strategy, $shards shards"
quietly "$work/publish.log" "$bin/muster" publish "$checkpoint" --model quickstart@v1 --to "file://$work/store" \
  --strategy "$strategy" --shards "$shards"
quietly "$work/create.log" "$bin/muster" assemblies create demo --model quickstart@v1 --policy balanced \
  --min-nodes "$agents"
say "starting $agents agents"
start_agents
"$bin/muster" wait demo --timeout 600s
say "READY"
quietly "$work/assemble.log" "$bin/muster" assemble quickstart@v1 --out "$work/assembled"
"$root/deploy/compare_checkpoints.py" "$checkpoint" "$work/assembled"
say "assembled, identical"
show_view
echo
"$bin/muster" status demo
echo
show_grpcurl
if [[ $keep == yes ]]; then
  echo "Server and agents stay up until Ctrl-C; their logs are in $work."
  trap 'exit 0' INT
  wait "$server_pid" || true
fi
say "cleaning up"
