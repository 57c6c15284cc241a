#!/usr/bin/env bash
# usage: scripts/venv.sh FOLDER REQUIREMENTS [bare]
# Creates the virtual environment FOLDER unless it exists and works. Installs REQUIREMENTS and, in place,
# this project with its command `v1registry` (bare: only REQUIREMENTS).
# PYTHON is the interpreter (default: python3).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh

folder=$1 requirements=$2 bare=${3:-} python=${PYTHON:-python3}

if ! command -v "$python" >/dev/null; then
    can_install || { echo "error: $python is missing: install Python 3.11 or newer" >&2; exit 1; }
    install_packages python3 python3-venv ca-certificates
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $("$python" -V) is too old: Python 3.11 or newer is needed (make PYTHON=...)" >&2
    exit 1
}

make_venv() {
    # An environment whose interpreter was removed or upgraded is created again.
    rm -rf "$folder"
    if "$python" -c 'import ensurepip, venv' 2>/dev/null && "$python" -m venv "$folder"; then
        return
    fi
    rm -rf "$folder"
    "$python" -m virtualenv "$folder" 2>/dev/null && return
    command -v virtualenv >/dev/null && virtualenv -p "$python" "$folder"
}

if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    make_venv || {
        can_install || {
            echo "error: neither venv nor virtualenv was found: install the package python3-venv" >&2
            exit 1
        }
        install_packages python3-venv ca-certificates
        make_venv
    }
fi
pip=("$folder/bin/python" -m pip --disable-pip-version-check)
# The pip that comes with Python may have known vulnerabilities. Every pin has its hashes.
"${pip[@]}" install --quiet --require-hashes -r requirements-pip.txt
"${pip[@]}" install --quiet --require-hashes -r "$requirements"
if [ "$bare" != bare ]; then
    "${pip[@]}" install --quiet --require-hashes -r requirements-build.txt
    "${pip[@]}" install --quiet --no-deps --no-build-isolation --editable .
    "${pip[@]}" uninstall --quiet --yes setuptools 2>/dev/null # nothing needs it
fi
