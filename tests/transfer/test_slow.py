"""`migrate` to a registry that is slow, stalls or is away: waits are limited, other work continues."""

from __future__ import annotations

import contextlib
import http.server
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.backends.v2registry import V2Registry
from tests.needs import require
from tests.transfer.made import MadeStore
from tests.transfer.slow import Slow
from tests.transfer.test_migrate import Command, inventory
from tests.transfer.test_remote import MIB, Bytes, name, remote
from v1registry.transfer.errors import Gone, Unreachable
from v1registry.transfer.http import Http, Interrupted


@pytest.fixture
def target(tmp_path: Path) -> Iterator[V2Registry]:
    require("v2-registry")
    with V2Registry(tmp_path / "go") as running:
        yield running


@pytest.fixture
def made(tmp_path: Path) -> MadeStore:
    return MadeStore(tmp_path / "store")


@pytest.fixture
def proxy(target: V2Registry) -> Iterator[Slow]:
    with Slow(target.port) as running:
        yield running


def test_few_bytes_a_second_are_enough(made: MadeStore, proxy: Slow, tmp_path: Path) -> None:
    """The whole upload takes several times the timeout, but no piece does."""
    made.tag("team/app", "1", made.image(None, 200_000))
    proxy.rate = 80_000
    begun = time.monotonic()
    report = Command(made.folder, tmp_path).report(proxy.url, "--timeout", "1")
    assert time.monotonic() - begun > 2
    assert report["totals"]["moved"] == 1
    assert report["totals"]["bytes_sent"] < 210_000  # nothing was sent twice


def test_late_answers_are_waited_for(made: MadeStore, proxy: Slow, tmp_path: Path) -> None:
    made.tag("team/app", "1", made.image(None))
    proxy.late = 0.2
    totals = Command(made.folder, tmp_path).report(proxy.url, "--timeout", "2")["totals"]
    assert (totals["moved"], totals["blobs_uploaded"]) == (1, 1)


def test_an_upload_that_stalls_is_retried(
    made: MadeStore, target: V2Registry, proxy: Slow, tmp_path: Path
) -> None:
    """Other uploads continue, a message names the delay, and the counts are right."""
    size = 4_000_000
    made.tag("team/app", "big", made.image(None, size))
    for number in range(3):
        made.tag("team/app", f"small{number}", made.image(None))
    proxy.stall_at, proxy.stalls = 1_000_000, 1
    out, error = Command(made.folder, tmp_path).run(proxy.url, "--timeout", "1")
    assert proxy.stalled == 1
    assert "images: 4 moved" in out
    lines = error.splitlines()
    (told,) = [line for line in lines if "; retrying" in line]
    assert told.startswith("PATCH /v2/team/app/blobs/uploads/")
    assert "timed out" in told
    assert lines[-1].startswith("[4/4] moved team/app:big")  # the other uploads did not wait for it
    assert len(inventory(target)) == 4


def test_a_registry_that_never_answers_ends_the_run(
    made: MadeStore,
    target: V2Registry,
    proxy: Slow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wait is limited, and each image is reported with the reason. The same command resumes later."""
    made.many(6, 1000)
    command = Command(made.folder, tmp_path)
    monkeypatch.setitem(cast(Any, Http.__init__).__kwdefaults__, "first_wait", 0.01)

    def hang() -> None:
        end = time.monotonic() + 30
        while not list((target.folder / "store").glob("**/tags/*")) and time.monotonic() < end:
            time.sleep(0.01)
        proxy.hold.set()

    thread = threading.Thread(target=hang)
    thread.start()
    proxy.late = 0.01
    begun = time.monotonic()
    report = command.report(proxy.url, "--timeout", "0.2", "--jobs", "1", status=3)
    thread.join()
    assert time.monotonic() - begun < 60  # the limit of the wait, not a speed
    assert report["totals"]["moved"] + report["totals"]["failed"] == 6
    failed = [line for line in report["images"] if line["state"] == "failed"]
    assert failed
    assert all("does not answer any more" in line["reason"] for line in failed), failed
    proxy.hold.clear()
    again = command.report(proxy.url)
    assert again["totals"]["moved"] + again["totals"]["there"] == 6


def test_a_registry_that_hangs_from_the_start(made: MadeStore, proxy: Slow, tmp_path: Path) -> None:
    made.many(2, 1000)
    proxy.hold.set()
    _, error = Command(made.folder, tmp_path).run(proxy.url, "--timeout", "1", status=1)
    assert "timed out" in error
    assert "2 tries" in error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_all_connections_stall(
    made: MadeStore, proxy: Slow, tmp_path: Path, number: int
) -> None:
    """All threads that wait for an answer or send stop at once."""
    for count in range(3):
        made.tag("team/app", f"v{count}", made.image(None, 4_000_000))
    proxy.stall_at = 500_000
    command = Command(made.folder, tmp_path)
    process = command.start(proxy.url, "--jobs", "3")
    end = time.monotonic() + 30
    while proxy.stalled < 3 and time.monotonic() < end:
        time.sleep(0.02)
    assert proxy.stalled >= 3
    process.send_signal(number)
    _, error = process.communicate(timeout=30)  # less than the time-out of a connection
    assert process.returncode == 130, error
    assert "run the same command again to resume" in error
    assert "Traceback" not in error


# -- single requests ----------------------------------------------------------------------


def test_a_stall_in_the_middle_of_a_chunk(target: V2Registry, proxy: Slow) -> None:
    repository, blob = name(), Bytes(secrets.token_bytes(5 * MIB))
    there = remote(proxy.url, chunk=MIB, still=0.5)
    proxy.stall_at, proxy.stalls = 2_500_000, 1
    counts: list[int] = []
    there.upload(repository, blob, there.begin(repository), counts.append)
    assert proxy.stalled == 1
    assert sum(counts) == blob.size
    assert (
        blob.read <= 8 * MIB
    )  # sent twice: this registry loses an upload whose chunk is interrupted
    assert target.get(f"/v2/{repository}/blobs/{blob.digest}").content == blob.data


def test_a_registry_that_comes_back_is_waited_for(target: V2Registry) -> None:
    """The restart takes longer than the retries of a request."""
    there, repository = remote(target.url, still=2.0), name()
    told: list[str] = []
    back = threading.Event()

    def tell(text: str) -> None:
        told.append(text)
        if "waiting for it" in text:
            target.start()
            back.set()

    there.notify_with(tell)
    target.kill()
    there.begin(repository)
    assert back.is_set()
    assert told[-1].startswith(f"{target.url} does not answer: ")


def test_a_registry_that_does_not_come_back_is_gone(target: V2Registry) -> None:
    there = remote(target.url, still=0.1)
    target.kill()
    with pytest.raises(Gone, match="does not answer any more"):
        there.begin(name())
    told: list[str] = []
    there.notify_with(told.append)
    with pytest.raises(Gone):
        there.has_blob(name(), f"sha256:{'0' * 64}", 1)
    assert told == []  # no request and no wait


def test_one_request_that_fails_for_ever_is_not_the_end(target: V2Registry, proxy: Slow) -> None:
    repository, blob = name(), Bytes(secrets.token_bytes(MIB))
    there = remote(proxy.url, still=0.1)
    proxy.stall_at = 300_000
    location = there.begin(repository)
    with pytest.raises(Unreachable) as failed:
        there.upload(repository, blob, location, lambda count: None)
    assert not isinstance(failed.value, Gone)
    assert not there.has_blob(repository, blob.digest, blob.size)


def test_stopped_while_waiting_for_an_answer(target: V2Registry, proxy: Slow) -> None:
    stop = threading.Event()
    there = remote(proxy.url, stop=stop, still=30.0)
    there.check()
    proxy.hold.set()
    threading.Timer(0.3, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        there.check()
    assert time.monotonic() - begun < 25  # the time-out of the answer is 30 seconds
    with contextlib.suppress(Interrupted):
        there.begin(name())  # no further request begins


class Answers(http.server.BaseHTTPRequestHandler):
    """A fake registry whose token server is unavailable for `left` more requests."""

    left = 2

    def do_GET(self) -> None:
        kind = type(self)
        if self.path.startswith("/token") and kind.left:
            kind.left -= 1
            self._send(503, b"[" * 100_000)  # a body that is not valid JSON
        elif self.path.startswith("/token"):
            self._send(200, b'{"token": "t"}')
        elif self.headers.get("Authorization") == "Bearer t":
            self._send(200, b"{}")
        else:
            realm = f'Bearer realm="http://{self.headers["Host"]}/token"'
            self._send(401, b"{}", ("WWW-Authenticate", realm))

    def _send(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for header, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None: ...


def test_a_token_server_that_is_unavailable_is_retried() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as fake:
        thread = threading.Thread(target=fake.serve_forever)
        thread.start()
        there = remote(f"http://127.0.0.1:{fake.server_port}")
        told: list[str] = []
        there.notify_with(told.append)
        assert there.get_manifest("team/app", "1", "x") == b"{}"
        fake.shutdown()
        thread.join()
    assert [text.count("/token answered 503") for text in told] == [1, 1]
