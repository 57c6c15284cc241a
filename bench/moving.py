"""`python -m bench.moving`: measure `backfill` and `migrate`, and `skopeo sync` from our v2 API.

It creates a store of 2 GB (`--gigabytes`) with shared base images and one further layer per image.
`v1registry backfill` reads this store once, and a store of many small layers. Then `v1registry migrate`
and `skopeo sync` copy the store to a new Go registry in turn. skopeo reads from a server of ours.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from pathlib import Path
from typing import NamedTuple

from bench import servers
from bench.servers import HOST, Server
from bench.stores import Files
from bench.usage import Peak
from bench.usage import cpu as used

_MIB = 1024 * 1024
_BASE, _OWN = 50, 10  # MiB of a shared layer, and of an image's own layer
_SMALL = 3000  # number of tiny layers
_PER_BASE = 5  # images on each base image


class Run(NamedTuple):
    """One copy: seconds, CPU seconds of all programs except the target, MB of the command."""

    seconds: float
    cpu: float
    memory: float


def main() -> int:
    options = _arguments()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        store = folder / "ours" / "store"
        tags, size = _make(store, int(options.gigabytes * 1e9))
        print(f"{len(tags)} images, {size / 1e9:.2f} GB, {os.cpu_count()} cores", flush=True)
        _backfill(folder, store)
        view = servers.ours(Files(store))
        stack.callback(view.stop)
        names = ["migrate"]
        if shutil.which("skopeo"):
            names.append("skopeo sync")
        else:
            print("skipped: skopeo is not installed")
        runs: dict[str, list[Run]] = {name: [] for name in names}
        for number in range(options.rounds):
            for name in names:
                runs[name].append(_move(name, folder / f"{number}", store, view, tags))
        _print(runs, size)
    print(f"{time.monotonic() - began:.0f} s in all, load after {os.getloadavg()[0]:.1f}")
    return 0


def _make(store: Path, total: int) -> tuple[dict[str, str], int]:
    """Write the store; return the repositories with their tags, and the bytes of all layers."""
    dice = random.Random(1)
    tags: dict[str, str] = {}
    size, base = 0, ""
    while size < total:
        if len(tags) % _PER_BASE == 0:
            base, count = _image(store, dice, None, _BASE)
            size += count
        top, count = _image(store, dice, base, _OWN)
        size += count
        name = f"team{len(tags) % 3}/app{len(tags)}"
        place = store / "repositories" / name
        place.mkdir(parents=True)
        (place / "tag_latest").write_text(top)
        tags[name] = top
    return tags, size


def _image(store: Path, dice: random.Random, parent: str | None, mib: int) -> tuple[str, int]:
    id = dice.randbytes(32).hex()
    data = json.dumps({"id": id, "created": "2014-06-01T12:00:00Z", "docker_version": "1.0.1",
                       "architecture": "amd64", "os": "linux", "container_config": {},
                       **({"parent": parent} if parent else {})}).encode()  # fmt: skip
    layer = _layer(dice, mib)
    folder = store / "images" / id
    folder.mkdir(parents=True)
    (folder / "json").write_bytes(data)
    (folder / "layer").write_bytes(layer)
    (folder / "ancestry").write_text(json.dumps([id, parent] if parent else [id]))
    checksum = hashlib.sha256(data + b"\n" + layer).hexdigest()
    (folder / "_checksum").write_text(json.dumps([f"sha256:{checksum}"]))
    return id, len(layer)


def _layer(dice: random.Random, mib: int) -> bytes:
    """Return a gzipped archive of text that compresses to about half, as programs do."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("data")
        entry.size = 2 * mib * _MIB
        tar.addfile(entry, io.BytesIO(dice.randbytes(mib * _MIB).hex().encode()))
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(out.getvalue()) + packer.flush()


def _backfill(folder: Path, store: Path) -> None:
    small = folder / "small"
    dice = random.Random(2)
    for _ in range(_SMALL):
        _image(small, dice, None, 0)
    for what, place in (("small layers", small), ("large layers", store)):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run([sys.executable, "-m", "v1registry", "backfill", "--only", "blobs", "--json"],
                              cwd=servers.ROOT, env=_environ(place), check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
        seconds = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        blobs = json.loads(done.stdout)["blobs"]
        each = 1000 * cpu / blobs["layers"]
        print(f"backfill, {what}: {blobs['layers'] / seconds:.1f} layers/s,"
              f" {blobs['bytes'] / seconds / 1e6:.1f} MB/s of stored bytes,"
              f" {each:.1f} ms of CPU a layer", flush=True)  # fmt: skip


def _move(name: str, folder: Path, store: Path, view: Server, tags: dict[str, str]) -> Run:
    folder.mkdir(exist_ok=True)
    target = servers.go(folder)
    address = f"{HOST}:{target.address[1]}"
    source = f"{HOST}:{view.address[1]}"
    file = folder / "images.yml"
    images = {tag: ["latest"] for tag in tags}
    file.write_text(json.dumps({source: {"images": images, "tls-verify": False}}))
    command = {
        "migrate": [sys.executable, "-m", "v1registry", "migrate", "--to", f"http://{address}",
                    "--no-journal", "--quiet", "--json"],
        "skopeo sync": ["skopeo", "--insecure-policy", "sync", "--src", "yaml", "--dest", "docker",
                        "--dest-tls-verify=false", str(file), address],
    }[name]  # fmt: skip
    served, began = used(view.pid), time.monotonic()
    try:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=servers.ROOT, env=_environ(store),
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # fmt: skip
            with Peak([process.pid]) as peak:
                _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        if status:
            raise RuntimeError(f"{name} failed: {(folder / 'log').read_text()[-2000:]}")
        cpu = usage.ru_utime + usage.ru_stime
        if name != "migrate":
            cpu += used(view.pid) - served
        return Run(seconds, cpu, peak.mb)
    finally:
        target.stop()
        shutil.rmtree(folder)


def _environ(store: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(store.parent), "SETTINGS_FLAVOR": "local",
            "STORAGE_PATH": str(store)}  # fmt: skip


def _print(runs: dict[str, list[Run]], size: int) -> None:
    medians = {
        name: statistics.median(run.seconds for run in found) for name, found in runs.items()
    }
    for name, found in runs.items():
        seconds = sorted(run.seconds for run in found)
        cpu = statistics.median(run.cpu for run in found) / (size / 1e9)
        print(
            f"{name:12} {medians[name]:6.1f} s ({seconds[0]:.1f} to {seconds[-1]:.1f}),"
            f" {size / medians[name] / 1e6:5.0f} MB/s, {cpu:.2f} CPU s/GB without the target,"
            f" {max(run.memory for run in found):.0f} MB"
        )
    if len(medians) == 2:
        ratio = medians["skopeo sync"] / medians["migrate"]
        print(f"migrate is {ratio:.2f} times as fast as skopeo sync (expected: at least 1)")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.moving", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="folder for the data (default: the temporary folder)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
