#!/bin/sh
# Runs fuzz targets one after another:
#
#     tests/fuzz/run.sh FOLDER SECONDS TARGET…
#
# FOLDER/obj-fuzzer/fuzz has the programs; what they learn is kept in FOLDER/corpus/TARGET and
# used by the next run, the seeds in tests/fuzz/corpus/ stay as they are.  The
# input of a finding is left in FOLDER/findings/, and the run fails.
set -eu

folder=$1
seconds=$2
shift 2
findings=$folder/findings

status=0

mkdir -p "$findings"
for target in "$@"; do
    learned=$folder/corpus/$target
    seeds=tests/fuzz/corpus/$target
    mkdir -p "$learned"
    if ! nice "$folder/obj-fuzzer/fuzz/$target" "$learned" "$seeds" \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
        -artifact_prefix="$findings/$target-" \
        -print_final_stats=1 >"$folder/$target.log" 2>&1; then
        tail -n 40 "$folder/$target.log"
        echo "fuzz: $target has a finding; make it an input of $seeds" >&2
        status=1
        continue
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' \
        "$folder/$target.log")
    echo "fuzz: $target: $runs runs, nothing found"
done
exit "$status"
