#!/bin/sh
# Imports the shop's first day, lets the projections run, and prints what they made of it.
#
#     ./demo.sh [PERIGEE]        where the engine's binary is; default: perigee on the PATH
#
# Starts from an empty database in data/ and leaves it there to look at.
set -eu

perigee=${1:-perigee}
cd "$(dirname "$0")"
settings=config/default.lua
address=127.0.0.1:8010

rm -rf data
mkdir data

engine=
# shellcheck disable=SC2317,SC2329 # called by the trap
stop() {
  if [ -n "$engine" ]; then
    kill -TERM "$engine" 2>/dev/null || true
    wait "$engine" || true
  fi
}
trap stop EXIT

echo "Importing 2010-12-01: 3,108 lines of 143 invoices"
luajit convert.lua <input/2010-12-01.csv |
  "$perigee" append --config "$settings" --file -

"$perigee" serve --config "$settings" --listen "$address" >data/engine.log 2>&1 &
engine=$!
"$perigee" projections --config "$settings" --url "http://$address" --wait 30

echo
echo "The ten largest orders"
"$perigee" rows orders orders --config "$settings" --url "http://$address" --order=-total --limit 10
echo
echo "Sales by country"
"$perigee" rows sales sales_by_country --config "$settings" --url "http://$address" --order=-revenue
echo
echo "Sales by day"
"$perigee" rows sales sales_by_day --config "$settings" --url "http://$address"
echo
echo "Run it yourself: cd examples/shop && perigee serve --config $settings"
