#!/usr/bin/env bash
# usage: scripts/image-test.sh VENV
# Checks the Dockerfile with hadolint, builds it and serves from the image. The base image needs no
# registry: debootstrap creates it, and it is imported under the name in the Dockerfile.
# Needs root on Debian, the package archive and 3 GB under /var/tmp; leaves nothing there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh

venv=$1 image=localhost/v1registry:image-test name=v1registry-image-test-$$
base=$(sed -n 's/^ARG BASE=//p' Dockerfile)

say() { printf '== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

can_install || fail "image-test wants root on Debian: it makes the base image itself"
packages=()
for command in debootstrap podman runc; do
    command -v "$command" >/dev/null || packages+=("$command")
done
[ "${#packages[@]}" = 0 ] || install_packages "${packages[@]}"

work=$(mktemp -d /var/tmp/v1registry-image-test.XXXXXX)
# All state of podman is in $work. runc: crun refuses machines with both versions of cgroups.
engine() {
    podman --root "$work/root" --runroot "$work/run" --tmpdir "$work/tmp" --storage-driver vfs \
        --cgroup-manager cgroupfs --events-backend file --runtime runc --log-level fatal "$@"
}
cleanup() {
    engine rm --force --time 2 "$name" >/dev/null 2>&1 || true
    engine umount --all >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT

say "hadolint"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    -r requirements-image.txt
"$venv/bin/hadolint" Dockerfile

say "base: debootstrap, imported as $base"
debootstrap --variant=minbase bookworm "$work/base" >"$work/debootstrap.log" ||
    { tail -20 "$work/debootstrap.log" >&2; fail "debootstrap"; }
# A machine behind a proxy may have its own certificate authorities.
mkdir -p "$work/base/usr/local/share/ca-certificates"
find /usr/local/share/ca-certificates -name '*.crt' \
    -exec cp {} "$work/base/usr/local/share/ca-certificates/" \;
tar -C "$work/base" -cf "$work/base.tar" .
rm -rf "$work/base"
engine import --quiet "$work/base.tar" "$base" >/dev/null
rm "$work/base.tar"

say "build"
engine build --isolation chroot --network host --pull=never --format docker --layers=false \
    --tag "$image" . >"$work/build.log" 2>&1 || { tail -40 "$work/build.log" >&2; fail "build"; }
size() { engine image inspect --format '{{.Size}}' "$1"; }
added=$((($(size "$image") - $(size "$base")) / 1000000))
say "the image adds $added MB to its base"
[ "$added" -le 100 ] || fail "too large"
user=$(engine image inspect --format '{{.Config.User}}' "$image")
[ "$user" = 1000:1000 ] || fail "runs as $user"

port=$("$venv/bin/python" -c \
    'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
start() { # start STORE
    # podman's defaults for open files and processes may exceed the limits of this machine.
    engine run --detach --name "$name" --network host --no-healthcheck \
        --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 \
        --env REGISTRY_HOST=127.0.0.1 --env "REGISTRY_PORT=$port" --env GUNICORN_WORKERS=2 \
        --volume "$1:/var/lib/v1registry" "$image" >/dev/null
}
health() { engine exec "$name" python healthcheck.py; }

say "a store that it may not write stops the start, with the line to run"
mkdir -m 0755 "$work/roots" && mkdir "$work/roots/images" "$work/roots/repositories"
start "$work/roots"
running() { [ "$(engine inspect --format '{{.State.Running}}' "$name")" = true ]; }
for _ in $(seq 60); do
    running || break
    sleep 0.5
done
running && fail "it did not stop"
engine inspect --format '{{.State.ExitCode}}' "$name" >"$work/code"
engine logs "$name" >"$work/log" 2>&1
if [ "$(cat "$work/code")" = 0 ] || ! grep -q "chown.*on the host" "$work/log"; then
    cat "$work/log" >&2
    fail "no chown line"
fi
engine rm "$name" >/dev/null

say "serve, push, pull"
mkdir "$work/store" && chown 1000:1000 "$work/store"
start "$work/store"
for _ in $(seq 60); do
    health 2>/dev/null && break
    sleep 0.5
done
health || { engine logs "$name" >&2; fail "not healthy after 30 s"; }
"$venv/bin/python" scripts/push_pull.py "http://127.0.0.1:$port" ||
    { engine logs "$name" >&2; fail "push or pull"; }
[ "$(stat -c %u "$work"/store/images)" = 1000 ] || fail "files of another user"

say "the command is on the PATH, and finds the store"
engine exec "$name" v1registry backfill >/dev/null || fail "v1registry backfill"

say "stop"
engine stop --time 20 "$name" >/dev/null
code=$(engine inspect --format '{{.State.ExitCode}}' "$name")
[ "$code" = 0 ] || { engine logs "$name" >&2; fail "exit code $code"; }
say "image-test passed"
