"""Request bodies: the bytes that were sent, strict framing, clear errors."""

import hashlib
import io
import json
import os
import socket
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.serving import Serving, chunked, head, read_answer
from tests.waiting import wait_for
from v1registry.lib.errors import Failure
from v1registry.server.buffer_pool import PIECE, SMALL_PIECE
from v1registry.server.receive import pieces

TE = [("Transfer-Encoding", "chunked")]


@pytest.fixture(scope="module", params=[None, "0"], ids=["own buffer", "shared buffer"])
def serving(request, tmp_path_factory):
    """A server in which one body has a large buffer of its own, and one in which all share one."""
    environ = {"SERVING_LARGE_BUFFERS": request.param} if request.param else {}
    with Serving(tmp_path_factory.mktemp("receiving"), environ=environ) as serving:
        yield serving


def json_of(answer):
    status, _, body = answer
    assert status == 200, body
    return json.loads(body)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def exchange(serving, raw, cuts=()):
    """Send `raw` in separate packets cut at `cuts`, and read one answer after another."""
    with serving.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        at = 0
        for cut in [*sorted(cuts), len(raw)]:
            sock.sendall(raw[at:cut])
            at = cut
        yield from iter(lambda: read_answer(sock), None)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_chunks_in_any_packets(serving, data):
    parts = data.draw(
        st.lists(
            st.one_of(
                st.binary(min_size=1, max_size=40),
                st.integers(1, 600_000).map(lambda size: os.urandom(1024) * (size // 1024 + 1)),
            ),
            max_size=6,
        )
    )
    framed = b""
    for part in parts:
        size = f"{len(part):x}"
        style = data.draw(st.sampled_from(["{}", "0{}", "{} ;a=b", '{};x="y z"', "000{}"]))
        size = size.upper() if data.draw(st.booleans()) else size
        framed += style.format(size).encode() + b"\r\n" + part + b"\r\n"
    framed += data.draw(st.sampled_from([b"0", b"00", b"0;last=1"])) + b"\r\n"
    framed += data.draw(st.sampled_from([b"", b"X-Sum: 1\r\n"])) + b"\r\n"
    raw = head("PUT", "/receive", TE) + framed
    # A second request follows. Nothing of it may be lost, or become a part of the body.
    raw += head("PUT", "/receive", [("Content-Length", 6)]) + b"second"
    cuts = data.draw(st.sets(st.integers(0, len(raw)), max_size=12))
    answers = exchange(serving, raw, cuts)
    whole = b"".join(parts)
    first = json_of(next(answers))
    assert first["sha256"] == sha(whole)
    assert first["length"] == len(whole)
    assert first["largest"] <= PIECE
    assert json_of(next(answers))["sha256"] == sha(b"second")


@pytest.mark.parametrize("pause", [0, 0.001])
def test_bodies_at_once(serving, pause):
    """A piece does not change while its consumer waits and other bodies are received."""
    results = []

    def send(number):
        data = os.urandom(3_000_000 + number)
        framed = chunked(*(data[at : at + 10_007] for at in range(0, len(data), 10_007)))
        answer = json_of(serving.get(f"/receive?pause={pause}", "PUT", TE, framed))
        results.append(answer["sha256"] == sha(data))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_slow_and_fast_bodies(serving):
    """Small packets are collected, a burst comes in large pieces, and the order is kept."""
    parts = [os.urandom(size) for size in (5, 70_000, 300, 4_000_000, 1, 200_000, 20)]
    raw = head("PUT", "/receive", TE) + chunked(*parts)
    with serving.connect() as sock:
        at = 0
        for cut in (1_000, 60_000, 70_250, 100_000, 4_000_000, 4_200_000, len(raw)):
            sock.sendall(raw[at:cut])
            at = cut
            time.sleep(0.02)
        found = json_of(read_answer(sock))
    assert found["sha256"] == sha(b"".join(parts))
    assert found["largest"] > SMALL_PIECE


def test_byte_by_byte(serving):
    raw = head("PUT", "/receive", TE) + chunked(b"hello", b"x" * 20) + head("GET", "/facts")
    answers = exchange(serving, raw, range(len(raw)))
    assert json_of(next(answers))["sha256"] == sha(b"hello" + b"x" * 20)
    assert json_of(next(answers))["pid"]


@pytest.mark.parametrize("size", [0, 1, 8192, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
def test_a_length_and_chunks_give_the_same_body(serving, size):
    data = os.urandom(size)
    plain = json_of(serving.get("/receive", "PUT", [("Content-Length", size)], data))
    split = json_of(serving.get("/receive", "PUT", TE, chunked(data)))
    assert plain["sha256"] == split["sha256"] == sha(data)
    assert plain["direct"]
    assert split["direct"]


def test_engine_sized_chunks_come_as_large_pieces(serving):
    parts = [os.urandom(32768) for _ in range(64)]
    found = json_of(serving.get("/receive", "PUT", TE, chunked(*parts)))
    assert found["sha256"] == sha(b"".join(parts))
    assert 100_000 < found["largest"] <= PIECE


def test_memory_is_released_at_the_end_of_a_body(tmp_path):
    """Even while the last piece is still referenced, as by a driver that waits for the disk."""
    data = b"x" * 3_000_000
    with Serving(tmp_path) as serving:
        by_length = json_of(serving.get("/receive", "PUT", [("Content-Length", len(data))], data))
        in_chunks = json_of(serving.get("/receive", "PUT", TE, chunked(data)))
    for found in (by_length, in_chunks):
        assert found["direct"]
        assert found["sha256"] == sha(data)
        assert not found["memory"]


def test_many_tiny_chunks(serving):
    parts = [b"a", b"bc"] * 30_000
    found = json_of(serving.get("/receive", "PUT", TE, chunked(*parts)))
    assert found["sha256"] == sha(b"".join(parts))


def test_many_chunks_with_extensions(serving):
    framed = b"1;a=b\r\nx\r\n" * 30_000 + b"0\r\n\r\n"
    assert json_of(serving.get("/receive", "PUT", TE, framed))["sha256"] == sha(b"x" * 30_000)


def test_no_body(serving):
    assert json_of(serving.get("/receive", "PUT"))["length"] == 0


def test_expect_continue(serving):
    with serving.connect() as sock:
        sock.sendall(head("PUT", "/receive", [*TE, ("Expect", "100-continue")]))
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(chunked(b"go on"))
        assert json_of(read_answer(sock))["sha256"] == sha(b"go on")


MALFORMED = {
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "not hex": b"xyz\r\nhello\r\n0\r\n\r\n",
    "negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n" + b"h" * 16 + b"\r\n0\r\n\r\n",
    "blank before": b" 5\r\nhello\r\n0\r\n\r\n",
    "blank behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "bare CR": b"5\rhello\r\n0\r\n\r\n",
    "missing CRLF": b"5\r\nhello0\r\n\r\n",
    "more data than said": b"5\r\nhello!\r\n0\r\n\r\n",
    "less data than said": b"5\r\nhell\r\n0\r\n\r\n",
    "bad extension": b"5;\x01\r\nhello\r\n0\r\n\r\n",
    "CR in an extension": b"5;a=\rb\r\nhello\r\n0\r\n\r\n",
    "endless extension": b"5;" + b"a" * 70_000 + b"\r\nhello\r\n0\r\n\r\n",
    "endless size": b"0" * 70_000 + b"5\r\nhello\r\n0\r\n\r\n",
    "NUL": b"5\x00\r\nhello\r\n0\r\n\r\n",
    "full-width digit": "５".encode() + b"\r\nhello\r\n0\r\n\r\n",
    "malformed trailer": b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    "bare LF in the trailers": b"5\r\nhello\r\n0\r\nA: b\n\r\n\r\n",
    "forbidden trailer": b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    "second chunk bad": b"5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n",
    "bad after a large chunk": b"80000\r\n" + b"h" * 0x80000 + b"\r\n!\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_framing(serving, stock_serving, name):
    raw = MALFORMED[name]
    # We must refuse at least what gunicorn's own worker refuses; only that one answers 431.
    stock_status = stock_serving.get("/stock", "PUT", TE, raw)[0]
    assert stock_status in (400, 431), (
        "stock gunicorn accepts this table entry, so it is not malformed"
    )
    with serving.connect() as sock:
        sock.sendall(head("PUT", "/receive", TE) + raw + head("GET", "/facts"))
        status, headers, _ = read_answer(sock)
        assert status == 400
        # The bytes that follow must not be read as a request.
        assert headers["Connection"] == "close"
        assert sock.recv(1) == b""


@pytest.mark.parametrize(
    "raw",
    [b"", b"5", b"5\r\n", b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n"],
)
def test_truncated_chunks(serving, raw):
    with serving.connect() as sock:
        sock.sendall(head("PUT", "/receive", TE) + raw)
        sock.shutdown(socket.SHUT_WR)
        assert read_answer(sock)[0] == 400
        assert sock.recv(1) == b""


@pytest.mark.parametrize("sent", [0, 1, 99])
def test_truncated_length(serving, sent):
    with serving.connect() as sock:
        sock.sendall(head("PUT", "/receive", [("Content-Length", 100)]) + b"x" * sent)
        sock.shutdown(socket.SHUT_WR)
        assert read_answer(sock)[0] == 400


def test_huge_sizes(serving):
    for size in (b"ffffffffffffffff", b"f" * 40, b"fffffffffffffff"):
        with serving.connect() as sock:
            sock.sendall(head("PUT", "/receive?limit=1000", TE) + size + b"\r\nhello")
            sock.shutdown(socket.SHUT_WR)
            assert read_answer(sock)[0] in (400, 413)


def test_a_client_that_goes_away(serving):
    before = len(serving.access_lines)
    sock = serving.connect()
    sock.sendall(head("PUT", "/receive", TE) + b"ffff\r\nsome")
    sock.close()
    line = wait_for(lambda: [x for x in serving.access_lines[before:] if '"PUT /receive"' in x])[0]
    assert " 400 " in line
    assert serving.get("/facts")[0] == 200


@pytest.mark.parametrize("size", [1000, 10_000_000])
def test_over_the_limit_in_chunks(serving, size):
    # As Docker engines do, send the whole body before reading the answer.
    with serving.connect() as sock:
        sock.sendall(
            head("PUT", "/receive?limit=999", TE) + chunked(*[b"x" * 1000] * (size // 1000))
        )
        status, headers, body = read_answer(sock)
        assert (status, headers["Connection"]) == (413, "close")
        assert "error" in json.loads(body)
        assert sock.recv(1) == b""


def test_over_the_limit_by_length(serving):
    with serving.connect() as sock:
        sock.sendall(head("PUT", "/receive?limit=999", [("Content-Length", 10**7)]))
        assert read_answer(sock)[0] == 413


def test_a_body_of_exactly_the_limit(serving):
    assert (
        json_of(serving.get("/receive?limit=1000", "PUT", TE, chunked(b"x" * 1000)))["length"]
        == 1000
    )


def test_a_failure_in_the_middle_of_a_body(serving):
    with serving.connect() as sock:
        sock.sendall(head("PUT", "/receive?stop=1", TE) + chunked(*[b"x" * 32768] * 200))
        status, headers, _ = read_answer(sock)
        assert (status, headers["Connection"]) == (507, "close")


@pytest.mark.parametrize("size", [5_000, 10_000_000])
def test_unread_body(serving, size):
    with serving.connect() as sock:
        sock.sendall(head("PUT", "/refuse", [("Content-Length", size)]) + b"x" * size)
        status, headers, _ = read_answer(sock)
        assert status == 404
        if size > 65536:
            assert headers["Connection"] == "close"
            assert sock.recv(1) == b""
        else:
            # Reading a small rest is cheaper than a new connection.
            sock.sendall(head("GET", "/facts"))
            assert read_answer(sock)[0] == 200


@pytest.mark.parametrize(
    "request_",
    [
        head("PUT", "/hold", [("Content-Length", 1000)]) + b"x" * 1000,
        head("PUT", "/hold", TE) + chunked(b"x" * 1000),
    ],
)
def test_a_body_that_is_read_in_part(serving, request_):
    with serving.connect() as sock:
        sock.sendall(request_ + head("GET", "/facts"))
        status, headers, _ = read_answer(sock)
        assert (status, headers["Connection"]) == (200, "close")
        assert sock.recv(1) == b""


def environ_of(body, **more):
    return {"wsgi.input": io.BytesIO(body), **more}


def test_bodies_under_another_server():
    data = os.urandom(2 * PIECE + 5)
    environ = environ_of(data + b"next", CONTENT_LENGTH=str(len(data)))
    assert b"".join(pieces(environ, None)) == data
    environ = environ_of(data, **{"wsgi.input_terminated": True})
    assert b"".join(pieces(environ, len(data))) == data
    assert environ["v1registry.received"] == len(data)
    assert b"".join(pieces(environ_of(b"never read"), None)) == b""


@pytest.mark.parametrize(
    ("environ", "limit", "status"),
    [
        (environ_of(b"short", CONTENT_LENGTH="6"), None, 400),
        (environ_of(b"short", CONTENT_LENGTH="-6"), None, 400),
        (environ_of(b"short", CONTENT_LENGTH="x"), None, 400),
        (environ_of(b"longer", CONTENT_LENGTH="6"), 5, 413),
        (environ_of(b"longer", **{"wsgi.input_terminated": True}), 5, 413),
    ],
)
def test_errors_under_another_server(environ, limit, status):
    with pytest.raises(Failure) as caught:
        list(pieces(environ, limit))
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("error", "status"), [(TimeoutError(), 408), (ConnectionResetError(), 400)]
)
def test_a_client_that_goes_away_under_another_server(error, status):
    class Broken:
        def read(self, size):
            raise error

    with pytest.raises(Failure) as caught:
        list(pieces({"wsgi.input": Broken(), "CONTENT_LENGTH": "6"}, None))
    assert caught.value.status == status
