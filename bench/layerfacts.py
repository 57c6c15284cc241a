"""What `v1registry facts` reads in a second: many small layers, and large gzipped ones.

A process of its own on a store that 0.x could have written, all of it in the page cache, with as many
jobs as there are cores. The large layers are text-like and pack to about a third, as system files do.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from bench.servers import ROOT

_SMALL = 2000  # layers of some hundred bytes
_LARGE = 12  # layers
_UNPACKED = 40 << 20  # bytes of each large one


def measure(folder: Path) -> str:
    """A line for the report."""
    small, large = folder / "facts-small", folder / "facts-large"
    for number in range(_SMALL):
        _image(small, number, gzip.compress(_tar(b"file %d\n" % number), mtime=0))
    rng = random.Random(1)
    words = [rng.randbytes(6).hex().encode() for _ in range(5000)]
    content = b" ".join(rng.choice(words) for _ in range(_UNPACKED // 13))
    packed = 0
    for number in range(_LARGE):
        layer = gzip.compress(_tar(b"%d %b" % (number, content)), 6, mtime=0)
        packed += len(layer)
        _image(large, number, layer)
    many, much = _run(small), _run(large)
    unpacked = _LARGE * len(content)
    return (
        f"v1registry facts: {_SMALL / many:,.0f} small layers/s; large ones"
        f" {packed / much / 1e6:,.0f} MB/s of gzip, {unpacked / much / 1e6:,.0f} MB/s unpacked"
        f" ({os.cpu_count()} jobs; its own start of about {_start():.1f} s left out)."
    )


def _run(store: Path) -> float:
    """Seconds of the work alone."""
    began = time.perf_counter()
    done = _command("facts", "--only", "blobs", "--json", STORAGE_PATH=str(store))
    seconds = time.perf_counter() - began
    blobs = json.loads(done)["blobs"]
    if blobs["damaged"] or blobs["read"] != blobs["layers"]:
        raise RuntimeError(f"facts went wrong: {blobs}")
    return max(seconds - _start(), 0.001)


def _start() -> float:
    began = time.perf_counter()
    _command("facts", "--help")
    return time.perf_counter() - began


def _command(*arguments: str, **environ: str) -> bytes:
    return subprocess.run(
        [sys.executable, "-m", "v1registry", *arguments],
        cwd=ROOT,
        env={**os.environ, "SETTINGS_FLAVOR": "local", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=300,
        check=True,
    ).stdout


def _tar(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo("file")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _image(store: Path, number: int, layer: bytes) -> None:
    id = f"{number:064x}"
    folder = store / "images" / id
    folder.mkdir(parents=True)
    document = json.dumps({"id": id}).encode()
    checksum = "sha256:" + hashlib.sha256(document + b"\n" + layer).hexdigest()
    (folder / "json").write_bytes(document)
    (folder / "ancestry").write_text(json.dumps([id]))
    (folder / "layer").write_bytes(layer)
    (folder / "_checksum").write_text(json.dumps([checksum]))
