#!/bin/sh
# Builds the image with buildah:
#
#     config/image/build.sh CACHE_FOLDER NAME VERSION COMMIT
#
# The Dockerfile begins with debian:bookworm-slim.  Where no registry has it,
# the same is made from Debian's packages: once, CACHE_FOLDER keeps it.
set -eu

cache=$1
name=$2
version=$3
commit=$4
base=debian:bookworm-slim

# Neither a kernel with every cgroup nor a runtime is needed to build.
export BUILDAH_ISOLATION=chroot

is_here() {
    buildah inspect --type image "$1" >/dev/null 2>&1
}

# Manuals and translations are left out, licences are not.
make_packages() {
    mkdir -p "$cache"
    if [ -s "$cache/base.tar" ]; then
        return
    fi
    echo "image: no registry has $base; making it from Debian's packages"
    mmdebstrap --quiet --variant=minbase --include=ca-certificates \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        bookworm "$cache/base.new.tar"
    mv "$cache/base.new.tar" "$cache/base.tar"
}

make_base() {
    make_packages
    container=$(buildah from scratch)
    trap 'buildah rm "$container" >/dev/null' EXIT
    buildah add --quiet "$container" "$cache/base.tar" / >/dev/null
    buildah config --cmd /bin/bash --env \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "$container"
    buildah commit --quiet "$container" "localhost/$base" >/dev/null
}

if ! is_here "$base" && ! timeout 120 buildah pull -q "$base" 2>/dev/null; then
    make_base
fi

# OCI's format has no health check.
buildah bud --quiet --layers --pull-never --format docker \
    --build-arg VERSION="$version" --build-arg COMMIT="$commit" \
    --tag "$name:$version" --tag "$name:latest" --file Dockerfile .
echo "image: $name:$version, commit $commit"
