#!/bin/sh
# Lays out the final image below FOLDER: a program, the libraries that it
# needs, and the few files that libc, libpq and OpenSSL look for.  Run by the
# Dockerfile's build stage.
#
#     config/image/rootfs.sh PROGRAM FOLDER WRITABLE
#
# What the engine may write to is laid out below WRITABLE, since it gets
# another owner on its way into the image.
#
# Of each package that a file comes from, dpkg's own entry and the licence go
# along: scanners of images find the versions in var/lib/dpkg/status.d.
set -eu

program=$1
root=$2
writable=$3

# A library may be listed by its path from before lib/ became usr/lib/.
package_of() {
    { dpkg-query -S "$1" 2>/dev/null || dpkg-query -S "/usr$1"; } |
        head -n 1 | cut -d : -f 1
}

note_package() {
    licence=usr/share/doc/$1/copyright
    dpkg-query -s "$1" >"$root/var/lib/dpkg/status.d/$1"
    if [ -e "/$licence" ]; then
        install -D -m 644 "/$licence" "$root/$licence"
    fi
}

libraries_of() {
    ldd "$1" | awk '$3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }'
}

mkdir -p "$root/usr/lib" "$root/usr/lib64" "$root/etc" \
    "$root/var/lib/dpkg/status.d"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"

install -D -m 755 "$program" "$root/usr/bin/perigee"
libraries_of "$program" | while read -r library; do
    # -D would take the link at lib/ for a missing folder.
    mkdir -p "$root${library%/*}"
    install -m 755 "$library" "$root$library"
    note_package "$(package_of "$library")"
done

install -D -m 644 /etc/ssl/certs/ca-certificates.crt \
    "$root/etc/ssl/certs/ca-certificates.crt"
note_package ca-certificates

cat >"$root/etc/nsswitch.conf" <<END
passwd: files
group: files
hosts: files dns
END
echo 'perigee:x:10001:10001:Perigee:/perigee:/nonexistent' >"$root/etc/passwd"
echo 'perigee:x:10001:' >"$root/etc/group"

# Where scripts are mounted or copied to.
mkdir -p "$root/perigee/lua/aggregates" "$root/perigee/projections"
mkdir -m 1777 "$root/tmp"
mkdir -p "$writable/data"
