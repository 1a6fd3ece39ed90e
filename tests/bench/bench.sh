#!/bin/bash
# Measures the engine beside its limits, in the same run on the same machine, and prints ratios.
#
#     make bench                          everything
#     BENCH_SECONDS=10 BENCH_EVENTS=1000000 make bench
#
# Timings are noisy: each figure that is compared is the median of three rounds, limit and engine in
# turns. Nothing here passes or fails.
set -euo pipefail

perigee=${PERIGEE_BIN:-build/perigee}
build=${BUILD:-build}
here=$(cd "$(dirname "$0")" && pwd)
seconds=${BENCH_SECONDS:-5}
events=${BENCH_EVENTS:-300000}
rounds=${BENCH_ROUNDS:-3}
url=${PERIGEE_TEST_PG_URL:?run me below tests/support/pg.sh}
work=$(mktemp -d)
engine=

# shellcheck disable=SC2317,SC2329 # called by the trap
cleanup() {
  stop_engine
  rm -rf "$work"
}
trap cleanup EXIT

stop_engine() {
  if [ -n "$engine" ]; then
    kill -TERM "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
    engine=
  fi
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
sql() { psql -qAtX "$1" -c "$2"; }

fresh_database() { # NAME: prints its url
  sql "$url" "drop database if exists $1" >/dev/null 2>&1
  sql "$url" "create database $1" >/dev/null
  echo "${url%/*}/$1"
}

# start_engine URL PROJECTIONS [AGGREGATES]: serves, and sets $address
start_engine() {
  mkdir -p "$work/empty"
  PERIGEE_SCRIPTS_AGGREGATES=${3:-$work/empty} PERIGEE_SCRIPTS_PROJECTIONS=$2 PERIGEE_LOG_FORMAT=json \
    DATABASE_URL=$1 "$perigee" serve --listen 127.0.0.1:0 >"$work/engine.log" 2>&1 &
  engine=$!
  address=
  for _ in $(seq 100); do
    address=$(sed -n 's/.*"address":"\([0-9.:]*\)".*/\1/p' "$work/engine.log" | head -n 1)
    if [ -n "$address" ] && curl -fs "http://$address/health/ready" >/dev/null; then
      return
    fi
    sleep 0.1
  done
  cat "$work/engine.log" >&2
  exit 1
}

resident_kib() { awk '/VmRSS/ { print $2 }' "/proc/$engine/status"; }

bench_appends() {
  local limit=() ours=() line
  for _ in $(seq "$rounds"); do
    local db
    db=$(fresh_database perigee_bench_plain)
    DATABASE_URL=$db "$perigee" migrate >/dev/null
    sql "$db" "create sequence bench_positions"
    limit+=("$(pgbench -n -M prepared -c 32 -j 2 -T "$seconds" -f "$here/append.pgbench" "$db" 2>/dev/null |
      sed -n 's/^tps = \([0-9.]*\).*/\1/p')")
    db=$(fresh_database perigee_bench_http)
    start_engine "$db" "$work/empty"
    line=$(wrk -t 2 -c 32 -d "${seconds}s" -s "$here/append.lua" "http://$address" | grep ^RESULT)
    stop_engine
    ours+=("$(echo "$line" | awk '{ printf "%.0f", $2 / $3 }')")
    echo "  pgbench ${limit[-1]}/s, perigee $(echo "$line" | awk '{ printf "%.0f/s, p50 %s ms, p99 %s ms, errors %s", $2 / $3, $4, $5, $6 }')"
  done
  report "appends over HTTP, 32 clients, against pgbench" \
    "$(printf '%s\n' "${ours[@]}" | median)" "$(printf '%s\n' "${limit[@]}" | median)"
}

store_url() { # STORE NAME: an empty database
  if [ "$1" = sqlite ]; then
    rm -f "$work/$2.db"*
    echo "sqlite:$work/$2.db"
  else
    fresh_database "perigee_bench_$2"
  fi
}

# load SCRIPT AGGREGATES STORE NAME: requests a second of 32 clients
load() {
  start_engine "$(store_url "$3" "$4")" "$work/empty" "$2"
  wrk -t 2 -c 32 -d "${seconds}s" -s "$here/$1" "http://$address" | grep ^RESULT |
    awk '{ printf "%.0f\n", $2 / $3 }'
  stop_engine
}

# Commands on one hot aggregate and on 10,000, against plain appends; and how fast a plain fold is.
bench_commands() {
  local store appends hot cold
  mkdir -p "$work/accounts"
  cp "$here/account.lua" "$work/accounts/"
  for store in sqlite postgresql; do
    appends=() hot=() cold=()
    for _ in $(seq "$rounds"); do
      load append.lua "$work/empty" $store appends >"$work/rate"
      appends+=("$(cat "$work/rate")")
      BENCH_STREAMS=1 load commands.lua "$work/accounts" $store hot >"$work/rate"
      hot+=("$(cat "$work/rate")")
      BENCH_STREAMS=10000 load commands.lua "$work/accounts" $store cold >"$work/rate"
      cold+=("$(cat "$work/rate")")
    done
    report "commands on one aggregate, $store, 32 clients, against appends" \
      "$(printf '%s\n' "${hot[@]}" | median)" "$(printf '%s\n' "${appends[@]}" | median)"
    report "commands on 10,000 aggregates, $store, 32 clients, against appends" \
      "$(printf '%s\n' "${cold[@]}" | median)" "$(printf '%s\n' "${appends[@]}" | median)"
    fold_hot "$store"
  done
}

# The hot stream of the last round, folded whole by a command line that begins without a snapshot.
fold_hot() {
  local db=sqlite:$work/hot.db count began ended
  if [ "$1" != sqlite ]; then
    db=${url%/*}/perigee_bench_hot
    sql "$db" "delete from perigee.snapshots" >/dev/null
  else
    sqlite3 "$work/hot.db" "delete from perigee_snapshots"
  fi
  began=$(date +%s.%N)
  count=$(DATABASE_URL=$db PERIGEE_SCRIPTS_AGGREGATES=$work/accounts "$perigee" state Account account-1 --json |
    sed 's/.*"version":\([0-9]*\).*/\1/')
  ended=$(date +%s.%N)
  awk -v n="$count" -v b="$began" -v e="$ended" -v store="$1" \
    'BEGIN { printf "a plain fold of %d events, %s: %.0f/s (start included)\n", n, store, n / (e - b) }'
}

report() { # WHAT OURS LIMIT
  awk -v what="$1" -v ours="$2" -v limit="$3" \
    'BEGIN { printf "%s: %.0f/s against %.0f/s = %.2f\n", what, ours, limit, ours / limit }'
}

# fill URL: $events events on 5,000 accounts, as the engine itself would have stored them
fill() {
  DATABASE_URL=$1 "$perigee" migrate >/dev/null
  sql "$1" "insert into perigee.streams select g, 'Account', 'account-' || g from generate_series(1, 5000) g;
    insert into perigee.events (position, stream_id, aggregate_version, event_id, event_type, event_version, aggregate_type, aggregate_id, occurred_at, recorded_at, data, metadata)
      select p, 1 + p % 5000, 1 + (p - 1) / 5000, gen_random_uuid(), 'Deposited', 1, 'Account', 'account-' || (1 + p % 5000), now(), now(),
        ('{\"amount\":\"' || (p % 1000) || '.' || lpad((p % 100)::text, 2, '0') || '\",\"currency\":\"EUR\",\"note\":\"a deposit like any other\"}')::json, '{}'
      from generate_series(1, $events) p;
    insert into perigee.event_ids select event_id, position from perigee.events;
    analyze" >/dev/null
}

wait_for_lag_0() {
  until curl -fs "http://$address/api/projections/accounts" | grep -q '"lag_events":0,'; do
    sleep 0.05
  done
}

bench_projection() {
  local limit=() ours=() db began ended idle
  db=$(fresh_database perigee_bench_projection)
  fill "$db"
  mkdir -p "$work/projections"
  cp "$here/accounts.lua" "$work/projections/"
  for _ in $(seq "$rounds"); do
    limit+=("$("$build/bench-loop" "$db" | awk '{ printf "%.0f", $1 / $2 }')")
    sql "$db" "set client_min_messages = warning; drop view if exists accounts; drop table if exists accounts__1;
      delete from perigee.read_tables; delete from perigee.generations;
      delete from perigee.projections; delete from perigee.checkpoints" >/dev/null
    began=$(date +%s.%N)
    start_engine "$db" "$work/projections"
    idle=$(resident_kib)
    wait_for_lag_0
    ended=$(date +%s.%N)
    ours+=("$(awk -v n="$events" -v b="$began" -v e="$ended" 'BEGIN { printf "%.0f", n / (e - b) }')")
    echo "  loop ${limit[-1]}/s, perigee ${ours[-1]}/s (start included), memory ${idle} KiB at start, $(resident_kib) KiB at the end"
    stop_engine
  done
  test "$(sql "$db" "select count(*) from bench_loop l full join accounts a using (account) where l.total is distinct from a.total")" = 0 ||
    { echo "the two tables differ" >&2; exit 1; }
  report "projection of $events events into a table, against the hand-written loop" \
    "$(printf '%s\n' "${ours[@]}" | median)" "$(printf '%s\n' "${limit[@]}" | median)"
}

bench_import() {
  local began ended
  "${LUAJIT:-luajit}" "$here/events.lua" "$events" >"$work/events.ndjson"
  began=$(date +%s.%N)
  DATABASE_URL=sqlite:$work/import.db PERIGEE_SCRIPTS_AGGREGATES=$work/empty \
    "$perigee" append --file "$work/events.ndjson" >/dev/null
  ended=$(date +%s.%N)
  awk -v n="$events" -v b="$began" -v e="$ended" \
    'BEGIN { printf "import of %d events from NDJSON into SQLite: %.0f/s\n", n, n / (e - b) }'
}

echo "perigee: bench on $(nproc) cores, $(uname -m); medians of $rounds rounds"
bench_appends
bench_commands
bench_projection
bench_import
