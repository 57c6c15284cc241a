# Sourced by the other scripts: install Debian packages by name, only where that is ours to do.
# shellcheck shell=bash

export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # nginx and mkfs.xfs lie there
for folder in /usr/lib/postgresql/*/bin; do PATH="$PATH:$folder"; done

can_install() { [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null; }

# install_packages NAME...: fails if any of them cannot be had.
install_packages() {
    local apt=(apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
    local policy=/usr/sbin/policy-rc.d status=0
    export DEBIAN_FRONTEND=noninteractive
    # The packages' services must not start: the tests start their servers
    # themselves, and the machine's own ports are none of our business.
    if [ -e "$policy" ]; then
        policy=
    else
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    fi
    echo "installing: $*"
    "${apt[@]}" update >/dev/null &&
        "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null || status=$?
    [ -z "$policy" ] || rm -f "$policy"
    return "$status"
}
