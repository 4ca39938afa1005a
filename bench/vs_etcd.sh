#!/usr/bin/env bash
# Measures a cluster of three kvapp nodes beside one of three etcd nodes on this machine, turn by turn in one run, and
# prints the ratio kvapp / etcd of each round, and the median of the ratios.
#
#   bench/vs_etcd.sh                                     all scenarios, 5 rounds: about 30 minutes
#   ROUNDS=3 SECONDS_EACH=8 bench/vs_etcd.sh put:256x1 get:256x1
#   KVAPP=dist/kvapp bench/vs_etcd.sh                    the compiled program; unless told otherwise, the source
#   ETCD=/opt/etcd/etcd ETCDCTL=/opt/etcd/etcdctl bench/vs_etcd.sh
#   INSTALL=1 bench/vs_etcd.sh                           installs what is missing, on Debian
#
# A scenario is WORKLOAD:CONNECTIONSxINFLIGHT, the workload put or get (linearizable).
#
# What is the same for both: three processes on loopback, without TLS; fsync on a majority before each answer; empty
# folders on the same disk in each round; keys of 11 bytes, 100,000 for puts and 1,000 for gets; values of 256 bytes;
# a closed loop; puts to the leader, gets to the three nodes in turn; a warm-up that does not count; an operation counts
# when it begins and ends within the measured time. Who is measured first changes with each round, and what one left
# to be written is on the disk (sync) before the other starts. Both are waited for until they answer.
#
# What is not, and whom it helps:
# - The load generators share the machine with the servers, and the ratio is of both together. One program in Go
#   (bench/load) makes both loads, with the same clock and the same counting. For etcd it uses etcd's own client (HTTP/2,
#   protobuf), for kvapp ready-made lines, of whose replies it looks at the beginning. So a request to kvapp costs the
#   generator less, most where many are in flight, and that helps kvapp, as a simpler protocol does. The processor time
#   of the generator is printed: what it takes of the machine the servers do not have.
# - Processes are new in each round. etcd is compiled; V8 compiles kvapp while it runs, which a server that runs for
#   days does not notice. Both are warmed up for 10 s (WARMUP) for that. With 2 s kvapp does a fifth less at 16x64.
# - etcd keeps old revisions until they are compacted, which is off unless asked for, and writes a second file, its
#   database, ten times a second. kvapp keeps none. So kvapp has less to do. In so short a run the database stays
#   far below its quota (2 GB).
# - Snapshots: each as it comes. kvapp takes one after 32 to 128 MiB of log, etcd after 100,000 entries,
#   and etcd's is small because its database is on the disk anyway. This helps etcd in long runs.
# - etcd allots its log in segments of 64 MB beforehand; kvapp's grows, so an fsync has the size to write, too.
# - etcd is Debian's 3.4 unless ETCD says otherwise, so newer versions are not what is measured. The load generator is
#   built with Debian's client of that version.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
# The flags are those that the executable has in itself (lib/cli/program.ts).
read -r -a kvapp <<<"${KVAPP:-deno run --v8-flags=--no-allocation-site-pretenuring,--heap-growing-percent=60 -A main.ts}"
etcd=${ETCD:-etcd} etcdctl=${ETCDCTL:-etcdctl}
rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-5} warmup=${WARMUP:-10}
scenarios=("$@")
[[ ${#scenarios[@]} -gt 0 ]] || scenarios=(put:1x1 put:64x1 put:256x1 put:16x16 put:16x64 get:1x1 get:256x1 get:16x64)
for scenario in "${scenarios[@]}"; do
  [[ $scenario =~ ^(put|get):[1-9][0-9]*x[1-9][0-9]*$ ]] || { echo "\"$scenario\" is not like put:16x64" >&2; exit 2; }
done

missing=()
command -v "$etcd" >/dev/null || missing+=(etcd-server)
command -v "$etcdctl" >/dev/null || missing+=(etcd-client)
command -v go >/dev/null || missing+=(golang-go)
[[ -d /usr/share/gocode/src/go.etcd.io/etcd/clientv3 ]] || missing+=(golang-etcd-server-dev)
if [[ ${#missing[@]} -gt 0 ]]; then
  if [[ ${INSTALL:-} != 1 ]]; then
    echo "missing: ${missing[*]}. On Debian INSTALL=1 installs them" >&2
    exit 2
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq "${missing[@]}" >/dev/null
fi

dir=$(mktemp -d -t kvapp-vs-etcd-XXXXXX)
pids=()
stop() {
  [[ ${#pids[@]} -eq 0 ]] || kill "${pids[@]}" 2>/dev/null || true
  wait
  pids=()
}
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

JSR_URL=$(deno run -A tools/jsr_url.ts)
export JSR_URL ETCDCTL_API=3
mkdir -p "$dir/go/src/load"
cp bench/load/*.go "$dir/go/src/load/"
(cd "$dir/go/src/load" && GO111MODULE=off GOFLAGS='' GOPATH="$dir/go:/usr/share/gocode" go build -o "$dir/load" .)

# Runs the load generator; its figures go to load.json, its wall, user and system seconds to load.time.
load() { # system endpoints workload connections inflight
  local TIMEFORMAT='%R %U %S'
  { time "$dir/load" -system "$1" -endpoints "$2" -workload "$3" -connections "$4" -pipeline "$5" -value-bytes 256 \
    -keys 100000 -warmup "$warmup" -seconds "$seconds" >"$dir/load.json" 2>"$dir/load.err"; } 2>"$dir/load.time" || {
    echo "failed: load $*" >&2
    cat "$dir/load.err" >&2
    exit 1
  }
}

# Waits until a command succeeds.
until_ok() {
  for ((attempt = 0; attempt < 100; attempt++)); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  echo "not within 20 s: $*" >&2
  tail -n 5 "$dir"/data/*.log >&2
  exit 1
}

fresh_folder() {
  rm -rf "$dir/data"
  mkdir "$dir/data"
  sync
}

etcd_peers="n1=http://127.0.0.1:23801,n2=http://127.0.0.1:23802,n3=http://127.0.0.1:23803"
etcd_clients="127.0.0.1:23781,127.0.0.1:23782,127.0.0.1:23783"
etcd_leader() { "$etcdctl" --endpoints="$etcd_clients" endpoint status | awk -F', ' '$5 == "true" {print $1}'; }
etcd_healthy() { "$etcdctl" --endpoints="$etcd_clients" endpoint health && [[ -n $(etcd_leader) ]]; }

run_etcd() { # workload connections inflight
  fresh_folder
  local i
  for i in 1 2 3; do
    "$etcd" --name "n$i" --data-dir "$dir/data/$i" --log-level error \
      --listen-peer-urls "http://127.0.0.1:2380$i" --initial-advertise-peer-urls "http://127.0.0.1:2380$i" \
      --listen-client-urls "http://127.0.0.1:2378$i" --advertise-client-urls "http://127.0.0.1:2378$i" \
      --initial-cluster "$etcd_peers" --initial-cluster-state new >"$dir/data/$i.log" 2>&1 &
    pids+=($!)
  done
  until_ok etcd_healthy
  sleep 1
  load etcd "$etcd_clients" "$@"
  stop
}

run_kvapp() { # workload connections inflight
  fresh_folder
  local cluster=127.0.0.1:18080,127.0.0.1:18081,127.0.0.1:18082 i
  for i in 1 2 3; do
    "${kvapp[@]}" serve --node-id "$i" --bind "127.0.0.1:1808$((i - 1))" --cluster "$cluster" \
      --data-dir "$dir/data/$i" >"$dir/data/$i.log" 2>&1 &
    pids+=($!)
  done
  until_ok "${kvapp[@]}" client --cluster "$cluster" put ready yes
  sleep 1
  load kvapp 127.0.0.1:19080,127.0.0.1:19081,127.0.0.1:19082 "$@"
  stop
}

cores=$(getconf _NPROCESSORS_ONLN)

# Runs one system; sets result to "rate p50 p99 errors cpu", the last one the load generator's share of the machine.
measure() {
  "run_$1" "$2" "$3" "$4"
  result="$(figure operationsPerSecond) $(figure p50) $(figure p99) $(figure errors) $(
    awk -v cores="$cores" '{printf "%.0f%%", 100 * ($2 + $3) / ($1 * cores)}' "$dir/load.time"
  )"
}

figure() { sed -n "s/.*\"$1\":\([0-9.e+-]*\).*/\1/p" "$dir/load.json" | tail -n 1; }
median() { sort -g | awk '{a[NR] = $1} END {printf "%.2f", NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2}'; }
fsync_ms() {
  LC_ALL=C dd if=/dev/zero of="$dir/fsync" bs=512 count=200 oflag=dsync 2>&1 |
    awk -F', ' '/copied/ {printf "%.2f", $(NF - 1) * 1000 / 200}'
}

commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
processor=$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)
echo "date      $(date -u '+%F %H:%M UTC')"
echo "kvapp     $("${kvapp[@]}" --version), commit $commit, as: ${kvapp[*]}"
echo "deno      $(deno --version | head -n 1)"
echo "etcd      $("$etcd" --version | head -n 1), $(go version)"
echo "machine   $cores x ${processor:-unknown}, $(awk '/MemTotal/ {printf "%.1f GiB", $2 / 2 ^ 20}' /proc/meminfo), $(uname -sr)"
echo "fsync     $(fsync_ms) ms on average, 200 of 512 bytes, in $(dirname "$dir")"
echo "run       $rounds rounds of $seconds s after $warmup s; latencies in ms; cpu: the load generator's share of the machine"
echo
format='%-10s %5s | %9s %8s %8s %6s %5s | %9s %8s %8s %6s %5s | %s\n'
# shellcheck disable=SC2059 # the format is the same for all rows
row() { printf "$format" "$@"; }
row scenario round etcd/s p50 p99 errors cpu kvapp/s p50 p99 errors cpu kvapp/etcd
for scenario in "${scenarios[@]}"; do
  workload=${scenario%%:*} shape=${scenario#*:}
  connections=${shape%x*} inflight=${shape#*x}
  ratios=()
  for ((round = 1; round <= rounds; round++)); do
    if ((round % 2 == 1)); then order=(etcd kvapp); else order=(kvapp etcd); fi
    for system in "${order[@]}"; do
      measure "$system" "$workload" "$connections" "$inflight"
      declare "result_$system=$result"
    done
    # shellcheck disable=SC2154 # declared by name, above
    read -r e e50 e99 eerrors ecpu <<<"$result_etcd"
    # shellcheck disable=SC2154
    read -r k k50 k99 kerrors kcpu <<<"$result_kvapp"
    ratio=$(awk -v k="$k" -v e="$e" 'BEGIN {printf "%.3f", k / e}')
    ratios+=("$ratio")
    row "$scenario" "$round" "${e%.*}" "$(printf %.2f "$e50")" "$(printf %.2f "$e99")" "$eerrors" "$ecpu" \
      "${k%.*}" "$(printf %.2f "$k50")" "$(printf %.2f "$k99")" "$kerrors" "$kcpu" "$ratio"
  done
  echo "$scenario: median of the ratios $(printf '%s\n' "${ratios[@]}" | median)"
done
