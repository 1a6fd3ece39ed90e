#!/bin/sh
# Installs the Debian packages that building, running and testing need, those
# that are missing only; docs/dependencies.md says what each is for.
#
#     tests/support/deps.sh           install what is missing
#     tests/support/deps.sh --build   only what compiling needs
#     tests/support/deps.sh --list    print the names, one a line
#
# With nothing missing this asks dpkg once and needs neither root nor network.
set -eu

# What the engine is compiled from; the Dockerfile wants no more.
build_packages="
gcc make pkg-config libc6-dev ca-certificates
libluajit-5.1-dev libpq-dev libsqlite3-dev libuv1-dev libcivetweb-dev
libcurl4-openssl-dev libgmp-dev libssl-dev
"
packages="$build_packages git
luajit lua-posix lua-socket lua-cjson lua-sql-postgres lua-busted lua-check
lua-yaml
libcmocka-dev postgresql pgbouncer nginx-light wrk sqlite3 curl procps xz-utils
clang libclang-rt-dev clang-format clang-tidy cppcheck shellcheck codespell
buildah mmdebstrap podman runc
"

is_installed() {
    dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null |
        grep -qx installed
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Servers come along with the packages; none of them is to be started here.
policy=/usr/sbin/policy-rc.d
made_policy=no

remove_policy() {
    if [ "$made_policy" = yes ]; then
        as_root rm -f "$policy"
    fi
}

forbid_services() {
    if [ -e "$policy" ]; then
        return
    fi
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

install_packages() {
    trap remove_policy EXIT
    trap 'exit 1' HUP INT TERM
    forbid_services
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@"
}

if [ "${1:-}" = --build ]; then
    packages=$build_packages
elif [ "${1:-}" = --list ]; then
    for name in $packages; do echo "$name"; done
    exit 0
fi

if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian system; needed are: $packages" >&2
    exit 0
fi

missing=
for name in $packages; do
    is_installed "$name" || missing="$missing $name"
done
if [ -n "$missing" ]; then
    echo "deps: installing$missing"
    # shellcheck disable=SC2086  # a list of names
    install_packages $missing
fi
