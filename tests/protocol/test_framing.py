"""Layers that are too large, cut off, or framed wrongly: a clear answer, no trace in the store, and
the push can be made anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import Image, image
from tests.protocol.hostile import BASE, LIMIT_LAYER, check_store, guarded, refused
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with guarded(tmp_path_factory.mktemp("around")) as running:
        yield running


@pytest.fixture(autouse=True)
def _store_is_sound(server: Server) -> Iterator[None]:
    yield
    check_store(server)


def _open(server: Server, word: str) -> Image:
    made = image(word, BASE, layer=bytes(range(256)) * 64)
    engine.expect(raw.put(server, made.path("json"), made.json))
    return made


def _nothing_came(server: Server, made: Image) -> None:
    """Check that clients see nothing of the broken layer and that the push can be repeated."""
    assert raw.get(server, made.path("json")).status == 400
    assert raw.get(server, made.path("layer")).status == 400
    assert not (server.store / "images" / made.id / "layer").exists()
    sum = {"X-Docker-Checksum-Payload": made.checksum}
    refused(raw.put(server, made.path("checksum"), b"", sum), 400)
    _until_gone(server, len(made.layer) // 4)
    engine.push(server, f"h/{made.id[:8]}", [BASE, made], ["latest"])
    assert raw.get(server, made.path("layer")).body == made.layer


def _until_gone(server: Server, size: int) -> None:
    """Wait until no piece of the broken layer is left: the server notices a dead client late."""

    def left() -> list[Path]:
        return [path for path in _staged(server.store) if path.stat().st_size >= size]

    wait_for(lambda: not left(), 10, left)


def _staged(store: Path) -> list[Path]:
    return [path for path in (store / "_v1registry" / "uploads").rglob("*") if path.is_file()]


@pytest.mark.parametrize("chunk", [None, 4096])
def test_a_layer_over_the_limit(server: Server, chunk: int | None) -> None:
    made = _open(server, f"over {chunk}")
    refused(raw.put(server, made.path("layer"), bytes(LIMIT_LAYER + 1), chunk=chunk), 413)
    _nothing_came(server, made)


def test_a_layer_of_just_the_limit(server: Server) -> None:
    made = image("just the limit", layer=bytes(LIMIT_LAYER))
    engine.upload(server, made)
    assert raw.get(server, made.path("layer")).body == made.layer


def test_a_length_over_the_limit_is_refused_unsent(server: Server) -> None:
    made = _open(server, "announced")
    with raw.Connection(server) as connection:
        head = raw.encode("PUT", made.path("layer"), server.host, {"Content-Length": str(10**15)})
        connection.send(head.replace(b"Content-Length: 0\r\n", b""))
        refused(connection.read("PUT"), 413)
    _nothing_came(server, made)


GOOD = b"5\r\nhello\r\n"
FRAMINGS = {
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "no hex": GOOD + b"xyz\r\nhello\r\n0\r\n\r\n",
    "negative": GOOD + b"-5\r\nhello\r\n0\r\n\r\n",
    "a sign": GOOD + b"+5\r\nhello\r\n0\r\n\r\n",
    "0x": GOOD + b"0x5\r\nhello\r\n0\r\n\r\n",
    "an underscore": GOOD + b"1_0\r\nhellohellohelloh\r\n0\r\n\r\n",
    "a blank before": GOOD + b" 5\r\nhello\r\n0\r\n\r\n",
    "too long a size": GOOD + b"f" * 17 + b"\r\nhello\r\n0\r\n\r\n",
    "an endless size line": GOOD + b"0" * 100_000 + b"5\r\nhello\r\n0\r\n\r\n",
    "an endless extension": GOOD + b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
    "chunk longer than said": GOOD + b"3\r\nhello\r\n0\r\n\r\n",
    "chunk shorter than said": GOOD + b"7\r\nhello\r\n0\r\n\r\n",
    "LF alone": b"5\nhello\n0\n\n",
    "no line end after a chunk": GOOD + b"5\r\nhello0\r\n\r\n",
}


@pytest.mark.parametrize("framed", FRAMINGS.values(), ids=FRAMINGS)
def test_malformed_chunks(server: Server, framed: bytes) -> None:
    made = _open(server, f"malformed {framed[:60]!r}")
    head = raw.encode("PUT", made.path("layer"), server.host, {"Transfer-Encoding": "chunked"})
    head = head.replace(b"Content-Length: 0\r\n", b"")
    with raw.Connection(server) as connection:
        try:
            connection.send(head + framed)
            # whoever waits for more than comes must hear that no more comes
            connection.socket.shutdown(1)
        except OSError:
            pass  # it has answered, and closed
        refused(connection.read("PUT"), 400)
        assert connection.rest() == b"", "the rest of a broken body was taken for a request"
    _nothing_came(server, made)


@pytest.mark.parametrize(
    "headers",
    [
        {"Transfer-Encoding": "chunked", "Content-Length": "5"},
        {"Transfer-Encoding": "chunked, chunked"},
        {"Transfer-Encoding": "x"},
        {"Transfer-Encoding": "gzip, chunked"},
        {"Transfer-Encoding": "identity, chunked"},
        {"Content-Length": "-5"},
        {"Content-Length": "+5"},
        {"Content-Length": "5, 5"},
        {"Content-Length": "5 5"},
        {"Content-Length": "0x5"},
    ],
    ids=str,
)
def test_ambiguous_lengths_of_a_body(server: Server, headers: dict[str, str]) -> None:
    """Request smuggling: the server refuses the request and closes the connection."""
    made = _open(server, f"smuggled {headers}")
    lines = [f"PUT {made.path('layer')} HTTP/1.1", f"Host: {server.host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    hidden = f"GET {BASE.path('json')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with raw.Connection(server) as connection:
        connection.send(
            "\r\n".join([*lines, "", ""]).encode() + b"5\r\nhello\r\n0\r\n\r\n" + hidden
        )
        connection.socket.shutdown(1)
        answer = connection.read("PUT")
        # RFC 9112: 501 for a coding that the server does not know (6.1), else 400 (6.3)
        coding = headers.get("Transfer-Encoding", "chunked")
        is_unknown = not set(coding.split(", ")) <= {"chunked"}
        assert answer.status == (501 if is_unknown else 400), str(answer)
        assert b"HTTP/1.1 200" not in connection.rest()
    _nothing_came(server, made)


@pytest.mark.parametrize("shift", range(15))
def test_a_size_line_cut_at_the_end_of_the_buffer(server: Server, shift: int) -> None:
    """On Debian 12's Python 3.11.2, `find` of an mmap read past its end here and crashed."""
    made = image(f"tiny chunks {shift}", layer=b"a" * (shift + 1) + b"xyz" * 200_000)
    head = raw.encode("PUT", made.path("layer"), server.host, {"Transfer-Encoding": "chunked"})
    head = head.replace(b"Content-Length: 0\r\n", b"")
    first = b"%x\r\n" % (shift + 1) + b"a" * (shift + 1) + b"\r\n"
    workers = server.worker_pids()
    engine.expect(raw.put(server, made.path("json"), made.json))
    framed = first + b"00000003\r\nxyz\r\n" * 200_000 + b"0\r\n\r\n"
    engine.expect(raw.exchange(server, head + framed, "PUT"))
    sum = {"X-Docker-Checksum-Payload": made.checksum}
    engine.expect(raw.put(server, made.path("checksum"), b"", sum))
    assert raw.get(server, made.path("layer")).body == made.layer
    assert server.worker_pids() == workers


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("chunk", [None, 1024])
def test_a_client_gone_in_the_middle(server: Server, chunk: int | None, reset: bool) -> None:
    made = _open(server, f"gone {chunk} {reset}")
    data = raw.encode("PUT", made.path("layer"), server.host, body=made.layer, chunk=chunk)
    for share in (0.2, 0.5, 0.99):
        connection = raw.Connection(server)
        connection.send(data[: int(len(data) * share)])
        if reset:
            connection.abort()
        else:
            connection.close()
    _nothing_came(server, made)


def test_a_missing_last_chunk(server: Server) -> None:
    """All bytes arrived but the last chunk did not, so the layer may be incomplete."""
    made = _open(server, "no end")
    data = raw.encode("PUT", made.path("layer"), server.host, body=made.layer, chunk=4096)
    with raw.Connection(server) as connection:
        connection.send(data.removesuffix(b"0\r\n\r\n"))
        connection.socket.shutdown(1)
        refused(connection.read("PUT"), 400)
    _nothing_came(server, made)


def test_a_tls_handshake_closes_the_connection_at_once(server: Server) -> None:
    """tests/fixtures/recordings/README.md: engines try TLS first, and would wait 2 s each time."""
    with raw.Connection(server, timeout=1.5) as connection:
        connection.send(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(100))
        assert connection.rest() == b""
