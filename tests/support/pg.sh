#!/bin/sh
# A throw-away PostgreSQL for the time of one command:
#
#     tests/support/pg.sh make unit-store
#
# The command finds the server in
#     PERIGEE_TEST_PG_URL     postgresql://… over TCP on the loopback
#     PERIGEE_TEST_PG_SOCKET  folder of its unix socket
#     PERIGEE_TEST_PG_DATA    its data folder
#     PERIGEE_TEST_PG_PID     its postmaster
#     PERIGEE_TEST_PG_USER    the system user it runs as
# and its exit status is the script's.  PostgreSQL refuses to run as root; for
# root it runs as $PERIGEE_PG_USER, as postgres, or as a system user that is
# made for it.  PERIGEE_PG_OPTIONS is added to the server's options, for
# instance "-c fsync=off".
#
# The cluster is stopped and its folder removed by a guard, a process of its
# own session that waits for this script to end in whatever way: the fifo it
# reads from is closed then, after a SIGKILL too.
set -eu

fail() {
    echo "pg.sh: $*" >&2
    exit 1
}

find_bindir() {
    if command -v pg_config >/dev/null 2>&1 &&
        [ -x "$(pg_config --bindir)/initdb" ]; then
        pg_config --bindir
        return
    fi
    for dir in /usr/lib/postgresql/*/bin; do
        if [ -x "$dir/initdb" ]; then
            echo "$dir"
            return
        fi
    done
    fail "no PostgreSQL server is installed (initdb was not found)"
}

choose_user() {
    if [ "$(id -u)" != 0 ]; then
        id -un
        return
    fi
    name=${PERIGEE_PG_USER:-postgres}
    if ! id "$name" >/dev/null 2>&1; then
        name=${PERIGEE_PG_USER:-perigee-pg}
        id "$name" >/dev/null 2>&1 ||
            useradd --system --no-create-home --shell /usr/sbin/nologin \
                "$name" || fail "cannot make the system user $name"
    fi
    echo "$name"
}

# Runs a program of the server as its user, from a folder that user can see.
as_server() {
    if [ "$(id -un)" = "$user" ]; then
        (cd "$dir" && "$@")
    else
        (cd "$dir" && runuser -u "$user" -- "$@")
    fi
}

guard() {
    trap '' INT TERM HUP
    read -r _ <"$dir/alive" || true
    as_server "$bin/pg_ctl" -D "$dir/data" -m immediate stop \
        >/dev/null 2>&1 || true
    rm -rf "$dir"
}

if [ "${1:-}" = --guard ]; then
    dir=$2 bin=$3 user=$4
    guard
    exit 0
fi
[ $# -gt 0 ] || fail "usage: pg.sh COMMAND [ARGUMENT…]"

bin=$(find_bindir)
user=$(choose_user)
dir=$(mktemp -d "${TMPDIR:-/tmp}/perigee-pg.XXXXXX")
mkfifo "$dir/alive"
chmod 755 "$dir"
mkdir "$dir/data" "$dir/socket"
: >"$dir/log"
if [ "$(id -u)" = 0 ]; then
    chown "$user" "$dir/data" "$dir/socket" "$dir/log"
fi
setsid "$0" --guard "$dir" "$bin" "$user" &
guard_pid=$!
exec 9>"$dir/alive"
# Letting go of the fifo is what stops the cluster; wait, so that it is gone
# when the script has ended.
trap 'exec 9>&-; wait "$guard_pid" || true' EXIT

as_server "$bin/initdb" -D "$dir/data" -U tester -A trust -E UTF8 \
    --locale=C --no-sync >"$dir/initdb.log" 2>&1 9>&- ||
    { cat "$dir/initdb.log" >&2; fail "initdb failed"; }

# The role is not named `perigee`: it would find the engine's schema by its own
# name first, and tables made without a schema would land there.
#
# Commits wait for the disk but for no standby: a test that names one does so
# for the whole server, and others must not hang with it.
# A free port is found by trying: whoever asks first may lose it again.
start_on() {
    as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 60 start \
        -o "-p $1 -c listen_addresses=127.0.0.1 \
            -c unix_socket_directories=$dir/socket -c max_connections=200 \
            -c synchronous_commit=local \
            -c log_min_messages=warning ${PERIGEE_PG_OPTIONS:-}" \
        >/dev/null 2>&1 9>&-
}

port=
tries=0
while [ -z "$port" ]; do
    tries=$((tries + 1))
    candidate=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
    if start_on "$candidate"; then
        port=$candidate
    elif [ "$tries" -ge 10 ] || ! grep -q "in use" "$dir/log"; then
        cat "$dir/log" >&2
        fail "PostgreSQL did not start"
    fi
done
as_server "$bin/createdb" -h "$dir/socket" -p "$port" -U tester perigee 9>&- ||
    fail "cannot make the database"

export PERIGEE_TEST_PG_URL="postgresql://tester@127.0.0.1:$port/perigee"
export PERIGEE_TEST_PG_SOCKET="$dir/socket"
export PERIGEE_TEST_PG_DATA="$dir/data"
export PERIGEE_TEST_PG_USER="$user"
PERIGEE_TEST_PG_PID=$(head -n 1 "$dir/data/postmaster.pid")
export PERIGEE_TEST_PG_PID
echo "pg.sh: $PERIGEE_TEST_PG_URL" >&2

# In the background, because a shell acts on a signal only once the command it
# waits for in the foreground has ended; such a command has no standard input
# but the one it is given.
exec 3<&0
"$@" <&3 3<&- 9>&- &
command_pid=$!
trap 'kill -TERM "$command_pid" 2>/dev/null || true' INT TERM HUP
status=0
wait "$command_pid" || status=$?
while kill -0 "$command_pid" 2>/dev/null; do
    status=0
    wait "$command_pid" || status=$?
done
exit "$status"
