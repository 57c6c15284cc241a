"""Interrupted uploads: a clear error if the client still listens, a clean retry, no leftovers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import raw
from tests.faults.engine import (
    CHUNK,
    Engine,
    PushedImage,
    check_store,
    leftovers,
    make_image,
    make_tar,
    squeeze,
)
from tests.faults.pushers import Pushers
from tests.live_server import ROOT, Server
from tests.waiting import wait_for
from v1registry.lib.images.cleaner import Cleaner
from v1registry.lib.images.commit import Commits
from v1registry.server.buffer_pool import PIECE
from v1registry.storage.local.driver import FileStorage

LIMIT = 2 * PIECE  # of a layer: more than one piece, so that a part of it reaches the disk


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"LIMITS_LAYER": str(LIMIT), "CLEAN_INTERVAL": "0"}
    with Server(tmp_path_factory.mktemp("cut") / "store", env=env) as running:
        yield running


@pytest.fixture
def quiet(store: Path) -> Iterator[Server]:
    """A server that does not run the cleaner."""
    with Server(store, env={"CLEAN_INTERVAL": "0"}) as running:
        yield running


def image(name: str, size: int = 2 * PIECE - 300_000, comment: str = "") -> PushedImage:
    return make_image(name, squeeze(make_tar(len(name), size), 0), comment=comment)


def request(server: Server, one: PushedImage) -> bytes:
    """Return the bytes of a whole layer PUT, as an engine sends it."""
    path = f"/v1/images/{one.id}/layer"
    return raw.encode("PUT", path, server.host, {}, one.layer, CHUNK)


def staged(server: Server) -> list[Path]:
    return list((server.store / "_v1registry" / "uploads").glob("*"))


def begun(server: Server, data: bytes) -> raw.Connection:
    """Send `data` on a connection, and wait until a part of it has reached the disk."""
    uploads = server.store / "_v1registry" / "uploads"
    before = set(uploads.glob("stage-*"))
    connection = raw.Connection(server)
    connection.send(data)
    wait_for(lambda: any(p.stat().st_size for p in set(uploads.glob("stage-*")) - before))
    return connection


def clean(server: Server, seconds: float) -> dict[str, Any]:
    """Run the command `clean`; return its report."""
    done = subprocess.run(
        [sys.executable, "-m", "v1registry", "clean", "--json", "--older-than", str(seconds)],
        cwd=ROOT,
        env={**os.environ, "SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(server.store)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def retry_succeeds(server: Server, one: PushedImage) -> None:
    """Push as if nothing had happened before. Then only the notes for late pushers are left."""
    engine = Engine(server, f"cut/{one.id[:12]}")
    engine.push([one], "latest")
    assert engine.pull("latest") == {one.id: (one.json, one.layer)}
    assert staged(server) == []
    assert check_store(server.store).problems == []


# -- the client goes away ---------------------------------------------------------


def test_reset_in_the_middle_of_a_layer(server: Server):
    one = image("reset")
    assert Engine(server, "cut/app").put_json(one).status == 200
    data = request(server, one)
    begun(server, data[: len(data) * 2 // 3]).abort()
    wait_for(lambda: not staged(server))
    assert raw.get(server, f"/v1/images/{one.id}/json").status == 400
    retry_succeeds(server, one)


def test_end_in_the_middle_of_a_layer(server: Server):
    one = image("end")
    assert Engine(server, "cut/app").put_json(one).status == 200
    data = request(server, one)
    with begun(server, data[: len(data) * 2 // 3]) as connection:
        connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.read("PUT")
    assert (answer.status, list(answer.json())) == (400, ["error"])
    wait_for(lambda: not staged(server))
    # The received part must not complete the image.
    answer = Engine(server, "cut/app").put_checksum(one)
    assert answer.status == 400
    retry_succeeds(server, one)


def test_fewer_bytes_than_announced(server: Server):
    one = image("short")
    assert Engine(server, "cut/app").put_json(one).status == 200
    path = f"/v1/images/{one.id}/layer"
    data = raw.encode("PUT", path, server.host, {}, one.layer)
    with begun(server, data[:-1]) as connection:
        connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.read("PUT")
    assert (answer.status, list(answer.json())) == (400, ["error"])
    wait_for(lambda: not staged(server))
    retry_succeeds(server, one)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("no hex", b"zz\r\nabc\r\n0\r\n\r\n"),
        ("negative", b"-5\r\nabcde\r\n0\r\n\r\n"),
        ("no size", b"\r\nabc\r\n0\r\n\r\n"),
        ("longer than it says", b"2\r\nabcdef\r\n0\r\n\r\n"),
        ("shorter than it says", b"5\r\nab\r\n0\r\n\r\n"),
        ("bare LF", b"2\nab\n0\n\n"),
        ("endless size", b"1" * 5000 + b"\r\nab"),
    ],
)
def test_malformed_chunk(server: Server, name: str, broken: bytes):
    one = image(f"malformed, {name}")
    assert Engine(server, "cut/app").put_json(one).status == 200
    data = request(server, one)
    end = len(b"0\r\n\r\n")
    with begun(server, data[:-end]) as connection:
        connection.send(broken)
        connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.read("PUT")
    assert (answer.status, list(answer.json())) == (400, ["error"])
    wait_for(lambda: not staged(server))
    assert Engine(server, "cut/app").put_checksum(one).status == 400
    retry_succeeds(server, one)


# -- limits ------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [CHUNK, None])
def test_a_layer_over_the_limit(server: Server, chunk: int | None):
    """The client sends the whole body before it reads the answer, as engines do."""
    one = make_image(f"over {chunk}", bytes(LIMIT * 8))
    assert Engine(server, "cut/app").put_json(one).status == 200
    answer = raw.put(server, f"/v1/images/{one.id}/layer", one.layer, chunk=chunk)
    assert (answer.status, list(answer.json())) == (413, ["error"])
    assert staged(server) == []
    retry_succeeds(server, make_image(f"over {chunk}", bytes(LIMIT)))


def test_one_byte_over_the_limit(server: Server):
    one = make_image("one over", bytes(LIMIT + 1))
    assert Engine(server, "cut/app").put_json(one).status == 200
    assert Engine(server, "cut/app").put_layer(one).status == 413
    assert staged(server) == []


def test_an_upload_that_takes_too_long(store: Path):
    """The client sends slowly, and would never end."""
    one = image("slow")
    with Server(store, env={"LIMITS_UPLOAD_SECONDS": "1"}) as server:
        assert Engine(server, "cut/app").put_json(one).status == 200
        data = request(server, one)
        with raw.Connection(server) as connection:
            connection.send(data[:100_000])
            connection.socket.settimeout(0.1)
            sent, end = 100_000, time.monotonic() + 15
            while True:
                try:
                    answer = connection.read("PUT")
                    break
                except TimeoutError:
                    assert time.monotonic() < end, "the server waits for ever"
                connection.send(data[sent : sent + 10])
                sent += 10
        assert (answer.status, list(answer.json())) == (408, ["error"])
        wait_for(lambda: not staged(server))
        retry_succeeds(server, one)


# -- leftovers -----------------------------------------------------------------------


def test_the_command_clean_deletes_old_leftovers(quiet: Server):
    """The mark of a push that stopped after its image JSON, and the leftovers of killed processes."""
    kept, opened, killed = image("kept"), image("opened"), image("killed")
    engine = Engine(quiet, "cut/clean")
    engine.push([kept], "latest")
    assert engine.put_json(opened).status == 200
    assert engine.put_layer(opened).status == 200
    assert engine.put_json(killed).status == 200
    data = request(quiet, killed)
    with begun(quiet, data[: len(data) * 2 // 3]):
        [worker] = quiet.worker_pids()
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: quiet.worker_pids() not in ([], [worker]))
    (quiet.store / "_v1registry" / "uploads" / "put-0123456789abcdef").write_bytes(b"half")
    before = leftovers(quiet.store)
    assert len(staged(quiet)) == 3

    clean(quiet, 3600)
    assert leftovers(quiet.store) == before
    assert check_store(quiet.store).opened == {opened.id, killed.id}

    clean(quiet, 0)
    assert leftovers(quiet.store) == []
    assert sorted(path.name for path in (quiet.store / "images").iterdir()) == [kept.id]
    view = check_store(quiet.store)
    assert (view.problems, view.opened, list(view.finished)) == ([], set(), [kept.id])
    assert engine.pull("latest") == {kept.id: (kept.json, kept.layer)}
    for one in (opened, killed):
        assert raw.get(quiet, f"/v1/images/{one.id}/json").status == 404
        retry_succeeds(quiet, one)


def test_an_old_leftover_is_deleted_and_a_new_one_stays(quiet: Server):
    old, new = image("old"), image("new")
    engine = Engine(quiet, "cut/ages")
    for one in (old, new):
        assert engine.put_json(one).status == 200
        assert engine.put_layer(one).status == 200
    yesterday = time.time() - 86400
    ours = quiet.store / "_v1registry"
    aged = [*(ours / "pushes" / old.id).iterdir(), *(ours / "uploads").glob(f"*{old.id}*")]
    assert len(aged) == 3
    for path in aged:
        os.utime(path, (yesterday, yesterday))
    clean(quiet, 3600)
    assert leftovers(quiet.store)
    assert all(new.id in name for name in leftovers(quiet.store))
    assert check_store(quiet.store).opened == {new.id}
    assert engine.put_checksum(new).status == 200
    answer = engine.put_checksum(old)
    assert (answer.status, answer.json()) == (404, {"error": "Image not found"})
    retry_succeeds(quiet, old)


def test_the_server_cleans_by_itself(store: Path):
    env = {"CLEAN_INTERVAL": "1", "UPLOADS_LIFE": "1"}
    one = image("abandoned")
    with Server(store, env=env) as server:
        assert Engine(server, "cut/app").put_json(one).status == 200
        assert Engine(server, "cut/app").put_layer(one).status == 200
        wait_for(lambda: not leftovers(store))
        wait_for(lambda: not (store / "images" / one.id).exists())
        retry_succeeds(server, one)


def test_clean_does_not_disturb_running_pushes(store: Path):
    with Server(store, workers=2) as server:
        with Pushers(server, "clean") as pushers:
            for _ in range(4):
                clean(server, 60)
        assert pushers.refused == []
        assert pushers.rounds > 0
        view = check_store(store)
        assert view.problems == []
        assert view.broken_promises(pushers.promises) == []


def test_clean_of_everything_breaks_no_confirmed_push(store: Path):
    """`--older-than 0` deletes the data of running pushes: they fail clearly, and succeed later."""
    with Server(store, workers=2) as server:
        with Pushers(server, "reckless", stubborn=True) as pushers:
            cleaner = Cleaner(FileStorage(store), Commits(FileStorage(store)))
            end = time.monotonic() + 6
            while time.monotonic() < end:
                cleaner.clean(time.time() + 1)
                assert check_store(store).problems == []
        for answer in pushers.answers:
            assert answer.status in (400, 404, 409, 500, 503)
            assert b'{"error": "' in answer.body
            assert b"Internal" not in answer.body
        assert pushers.rounds > 0
        view = check_store(store)
        assert view.problems == []
        assert view.broken_promises(pushers.promises) == []


# -- incomplete images of 0.x --------------------------------------------------------


def broken_by_0x(server: Server, one: PushedImage, **files: bytes) -> Path:
    """Create the folder of an image whose push to 0.x was interrupted: mark, JSON, and so on."""
    folder = server.store / "images" / one.id
    folder.mkdir(parents=True)
    for name, data in {"_inprogress": b"true", "json": one.json, **files}.items():
        (folder / name).write_bytes(data)
    return folder


def test_a_broken_push_of_0x_is_recovered_by_a_new_push(server: Server):
    cases: list[tuple[str, dict[str, bytes]]] = [
        ("json alone", {}),
        ("half a layer", {"layer": image("half a layer").layer[:5000]}),
        ("other JSON", {"json": image("other JSON", comment="0.x").json}),
        ("other bytes", {"layer": bytes(len(image("other bytes").layer)), "_checksum": b'["sha256:0"]'}),
        ("old checksum", {"_checksum": b"tarsum+sha256:00\n"}),
    ]  # fmt: skip
    for name, files in cases:
        one = image(name)
        broken_by_0x(server, one, ancestry=json.dumps([one.id]).encode(), **files)
        assert raw.get(server, f"/v1/images/{one.id}/json").status == 400
        retry_succeeds(server, one)
        assert one.id in check_store(server.store).finished


def test_a_push_that_0x_began_continues_here(server: Server):
    """The registry was upgraded between the JSON and the layer."""
    one = image("goes on")
    broken_by_0x(server, one, ancestry=json.dumps([one.id]).encode())
    engine = Engine(server, "cut/goes-on")
    assert engine.put_layer(one).status == 200
    assert engine.put_checksum(one).status == 200
    retry_succeeds(server, one)


def test_clean_keeps_open_uploads_of_0x(quiet: Server):
    one = image("open in 0.x")
    folder = broken_by_0x(quiet, one, layer=b"half")
    clean(quiet, 0)
    assert sorted(path.name for path in folder.iterdir()) == ["_inprogress", "json", "layer"]
    retry_succeeds(quiet, one)
