# Sourced by the other scripts: installs Debian packages by name, if we are root on Debian.
# shellcheck shell=bash

export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # nginx and mkfs.xfs lie there
for folder in /usr/lib/postgresql/*/bin; do PATH="$PATH:$folder"; done

can_install() { [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null; }

# install_packages NAME...: fails if a package cannot be installed.
install_packages() {
    local apt=(apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
    local policy=/usr/sbin/policy-rc.d status=0
    export DEBIAN_FRONTEND=noninteractive
    # The services of the packages must not start: the tests start their own servers on other ports.
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
