"""Hostile layers that cost memory or time: the worker's use of both."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.lib.tars import header, pax
from tests.live_server import Server
from tests.protocol import engine, seed
from tests.protocol.engine import Image, image

LAYERS, ENTRIES = 24, 12_000
MEMORY = 60  # MiB that one request may take


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "store") as running:
        yield running


def peak(server: Server) -> int:
    """Return the peak memory of the worker in MiB."""
    (pid,) = server.worker_pids()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) // 1024


def pax_bomb() -> bytes:
    """Pax headers without an entry: 540,000 records, of which one entry would have to be made."""
    headers = []
    for number in range(60):
        names = range(number * 9000, (number + 1) * 9000)
        headers.append(pax({f"SCHILY.xattr.user.{name}": b"x" * 20 for name in names}))
    return gzip.compress(b"".join(headers) + header(), 1)


def test_pax_records_take_little_memory(server: Server) -> None:
    made = image("pax bomb", layer=pax_bomb())
    engine.expect(raw.put(server, made.path("json"), made.json))
    engine.expect(raw.put(server, made.path("layer"), made.layer))
    before = peak(server)
    tarsum = {"X-Docker-Checksum": "tarsum+sha256:" + "0" * 64}
    for _ in range(3):
        engine.expect(raw.put(server, made.path("checksum"), headers=tarsum), 400)
    simple = {"X-Docker-Checksum-Payload": made.checksum}
    engine.expect(raw.put(server, made.path("checksum"), headers=simple))
    for part in ("files", "diff", "files"):
        answer = raw.get(server, made.path(part))
        assert answer.status == 400, str(answer)
        assert "contains more than this registry can list" in answer.json()["error"]
    assert peak(server) - before < MEMORY
    assert (server.store / "images" / made.id / "_files_refused").exists()


def test_a_diff_takes_the_memory_of_one_layer(server: Server) -> None:
    chain: list[Image] = []
    for number in range(LAYERS):
        names = {f"layer-{number}/{'folder' * 20}/{n:06}": b"" for n in range(ENTRIES)}
        layer = gzip.compress(engine.tar(names), 1)
        made = image(f"layer {number}", chain[-1] if chain else None, layer)
        seed.image(server.store, made.json, made.layer, made.ancestry, [made.checksum])
        chain.append(made)
        if number == 0:
            engine.expect(raw.get(server, made.path("files")))  # what the first one takes
    before = peak(server)
    answer = engine.expect(raw.get(server, chain[-1].path("diff")))
    assert len(json.loads(answer.body)["created"]) == ENTRIES
    assert peak(server) - before < MEMORY
