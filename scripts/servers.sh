#!/usr/bin/env bash
# Installs the servers and tools that the tests use, if we are root on Debian. Elsewhere it lists what
# is missing, and the tests that need it are skipped (tests/needs.py).
# With CI=true a missing one is an error: here if it cannot be installed, and in the tests.
# With HEAVY=1 it also installs what the heavy tests use.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh

# command:package
tools=(
    nginx:nginx-light  # in front of us: X-Accel-Redirect, TLS, chunked bodies
    redis-server:redis-server  # the cache that nodes share
    redis-cli:redis-tools
    initdb:postgresql  # the index of many nodes
    slapd:slapd        # a directory with accounts
    node:nodejs        # the npm client that people use
    npm:npm
    mkfs.exfat:exfatprogs  # a file system without hard links, in a file
    mount.exfat-fuse:exfat-fuse
    openssl:openssl    # certificates for the TLS tests
    systemd-analyze:systemd  # checks the example of a unit; nothing of it runs
    mkfs.xfs:xfsprogs  # power loss: `xfs_io -x -c shutdown` on a loop xfs
    mount:mount        # small file systems that fill up
    ceph-mon:ceph-mon  # an S3 server: Ceph with its gateway, in memory
    ceph-osd:ceph-osd
    radosgw:radosgw
    ceph:ceph-common
    chromium:chromium  # the browser in which the pages are tested
    skopeo:skopeo      # today's clients, which pull over v2
    podman:podman
    docker-registry:docker-registry  # and a registry of today, in Go
    memcached:memcached  # keeps the tokens of the Swift below
)

if [ "${HEAVY:-}" = 1 ]; then # of `make test-heavy` alone
    for part in proxy account container object; do
        tools+=("swift-$part-server:swift-$part") # an older Swift
    done
    tools+=(glance-api:glance-api) # and an older Glance
    tools+=(dockerd:docker.io docker:docker.io ctr:containerd) # Docker itself
fi

packages=()
for tool in "${tools[@]}"; do
    command -v "${tool%%:*}" >/dev/null || packages+=("${tool#*:}")
done

# Fonts are no commands.
[ -e /usr/share/fonts/opentype/noto ] || packages+=(fonts-noto-cjk) # Chinese in `make screenshots`

complain() {
    echo "missing: $1" >&2
    [ "${CI:-}" != true ] || exit 1
}

if [ "${#packages[@]}" -gt 0 ]; then
    if can_install; then
        install_packages "${packages[@]}" || complain "could not install ${packages[*]}"
    else
        complain "${packages[*]} (Debian's names): the tests that need them are skipped"
    fi
fi

client=tests/clients/npm
if command -v npm >/dev/null &&
    [ ! "$client/node_modules/.package-lock.json" -nt "$client/package-lock.json" ]; then
    # Its install scripts are not needed: the client is plain JavaScript.
    (cd "$client" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) ||
        complain "the npm packages of $client could not be installed"
fi

# Servers that are Python programs get their own environments, because their dependencies differ.
for requirements in tests/backends/requirements-*.txt; do
    name=${requirements#*requirements-}
    folder=.venv-servers/${name%.txt}
    [ "$folder/.installed" -nt "$requirements" ] && continue
    if bash scripts/venv.sh "$folder" "$requirements" bare; then
        touch "$folder/.installed"
    else
        complain "$requirements could not be installed"
    fi
done
