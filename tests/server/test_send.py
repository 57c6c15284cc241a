"""Sending files: every byte of a range, slow and stalled clients, and files that are too short."""

import hashlib
import io
import socket
import time

import pytest

from tests.server.serving import Serving, head, read_answer
from tests.waiting import wait_for
from v1registry.server.send import PIECE, FileRange, Truncated

MIB = 1024 * 1024


def path_of(start, length, **more):
    query = "&".join(f"{key}={value}" for key, value in more.items())
    return f"/send?start={start}&length={length}&{query}"


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, 0), (0, 1), (5, 1), (0, 24 * MIB + 12345), (7 * MIB + 1, 9 * MIB), (24 * MIB + 12344, 1)],
)
@pytest.mark.parametrize("wrapped", ["", "1"])
def test_ranges(serving, big_file, start, length, wrapped):
    status, headers, body = serving.get(path_of(start, length, wrapped=wrapped))
    assert (status, headers["Content-Length"]) == (200, str(length))
    assert body == big_file.read_bytes()[start : start + length]


def test_keep_alive_between_ranges(serving, big_file):
    data = big_file.read_bytes()
    with serving.connect() as sock:
        for start, length in ((3, 2 * MIB), (0, 5), (MIB, 3 * MIB + 1)):
            sock.sendall(head("GET", path_of(start, length)))
            status, headers, body = read_answer(sock)
            assert (status, headers["Connection"]) == (200, "keep-alive")
            assert body == data[start : start + length]


def test_pipelined_ranges(serving, big_file):
    data = big_file.read_bytes()
    with serving.connect() as sock:
        sock.sendall(head("GET", path_of(0, 4 * MIB)) + head("GET", path_of(9, 3)))
        assert read_answer(sock)[2] == data[: 4 * MIB]
        assert read_answer(sock)[2] == data[9:12]


def test_head(serving):
    with serving.connect() as sock:
        sock.sendall(head("HEAD", path_of(0, 5 * MIB)))
        status, headers, _ = read_answer(sock, "HEAD")
        assert (status, headers["Content-Length"]) == (200, str(5 * MIB))
        # There is no body before the next answer.
        sock.sendall(head("GET", path_of(0, 1)))
        assert read_answer(sock)[0] == 200


def test_file_wrapper(serving, big_file):
    answer = serving.get("/wrapper")
    assert answer[2] == big_file.read_bytes()
    assert f" 200 {big_file.stat().st_size} " in serving.line_of(answer)


def test_the_access_log_counts_the_bytes_sent(serving):
    assert f" 200 {3 * MIB} " in serving.line_of(serving.get(path_of(5, 3 * MIB)))


def test_slow_reader(serving, big_file):
    data = big_file.read_bytes()
    received = bytearray()
    with serving.connect(receive_buffer=32768) as sock:
        sock.sendall(head("GET", path_of(0, 8 * MIB, x=1), [("Connection", "close")]))
        while piece := sock.recv(100_000):
            received += piece
            if len(received) < MIB:
                time.sleep(0.002)
    assert received.endswith(data[8 * MIB - 1000 : 8 * MIB])
    assert hashlib.sha256(received[-8 * MIB :]).digest() == hashlib.sha256(data[: 8 * MIB]).digest()


def test_file_shorter_than_announced(serving, big_file):
    size = big_file.stat().st_size
    for wrapped in ("", "1"):
        with serving.connect() as sock:
            sock.sendall(head("GET", path_of(size - 1000, 5000, wrapped=wrapped)))
            received = b""
            # The answer is not padded and does not hang: the connection ends too early.
            try:
                while piece := sock.recv(65536):
                    received += piece
            except ConnectionResetError:
                pass
            assert len(received) < 5000
    assert "shorter than announced" in serving.log


def test_announced_more_than_the_range(serving):
    with serving.connect() as sock:
        sock.sendall(head("GET", path_of(0, 1000, announce=2000)))
        received = b""
        try:
            while piece := sock.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        assert len(received) < 2000


def test_files_are_closed(serving):
    for _ in range(3):
        serving.get(path_of(0, MIB))
        serving.get(path_of(0, MIB), "HEAD")
        sock = serving.connect(receive_buffer=8192)
        sock.sendall(head("GET", path_of(0, 20 * MIB)))
        sock.recv(1000)
        sock.close()
    wait_for(lambda: b'"files": 0' in serving.get("/facts")[2])


def test_many_slow_downloads_and_a_quick_request(serving):
    socks = [serving.connect(receive_buffer=8192) for _ in range(200)]
    try:
        for sock in socks:
            sock.sendall(head("GET", path_of(0, 20 * MIB)))
            sock.recv(100)
        for _ in range(20):
            assert serving.get("/facts")[0] == 200
    finally:
        for sock in socks:
            sock.close()
    wait_for(lambda: b'"files": 0' in serving.get("/facts")[2])


def test_stalled_clients_are_cut(tmp_path, big_file):
    with Serving(
        tmp_path, file=big_file, loglevel="info", environ={"GUNICORN_STALL_TIMEOUT": "0.5"}
    ) as serving:
        reader = serving.connect(receive_buffer=8192)
        reader.sendall(head("GET", path_of(0, 20 * MIB)))
        pieces = serving.connect(receive_buffer=8192)
        pieces.sendall(head("GET", path_of(0, 20 * MIB, wrapped=1)))
        writer = serving.connect()
        writer.sendall(head("PUT", "/receive", [("Transfer-Encoding", "chunked")]) + b"5\r\nhe")
        silent = serving.connect()
        dripping = serving.connect()
        with reader, pieces, writer, silent, dripping:
            assert read_answer(writer)[0] == 408
            assert silent.recv(1) == b""
            # The timeout is for the whole head, even if it arrives byte by byte.
            ends = time.monotonic() + 10
            with pytest.raises(OSError):
                while time.monotonic() < ends:
                    dripping.sendall(b"G")
                    time.sleep(0.1)
            wait_for(lambda: b'"files": 0' in serving.get("/facts")[2])
            assert serving.log.count("stalled") >= 2
        assert "Traceback" not in serving.log + serving.output.read_text()


def test_a_slow_reader_is_not_cut(tmp_path, big_file):
    """The timeout restarts whenever the client receives bytes, even within the kernel's buffer."""
    length = 20 * MIB
    with Serving(tmp_path, file=big_file, environ={"GUNICORN_STALL_TIMEOUT": "0.5"}) as serving:
        with serving.connect(receive_buffer=8192) as sock:
            sock.sendall(head("GET", path_of(0, length)))
            received = 0
            started = time.monotonic()
            while time.monotonic() - started < 3:
                received += len(sock.recv(8192))
                time.sleep(0.05)
            while received < length and (piece := sock.recv(1 << 20)):
                received += len(piece)
            assert received >= length


def test_an_error_in_the_middle_of_an_answer_closes_the_connection(serving):
    with serving.connect() as sock:
        sock.sendall(head("GET", "/fail"))
        received = b""
        try:
            while piece := sock.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        assert b"\r\n\r\nbegun" in received or not received
    wait_for(lambda: "half way" in serving.log)
    assert serving.get("/facts")[0] == 200


class TestFileRange:
    def file(self, tmp_path, data):
        path = tmp_path / "file"
        path.write_bytes(data)
        return open(path, "rb")

    def test_pieces(self, tmp_path):
        data = bytes(range(256)) * 8192 + b"end"
        body = FileRange(self.file(tmp_path, data), 10, len(data) - 10)
        pieces = list(body)
        assert max(map(len, pieces)) == PIECE
        assert b"".join(pieces) == data[10:]
        assert body.file.tell() == 0
        body.close()
        body.close()
        assert body.file.closed

    def test_truncated(self, tmp_path):
        body = FileRange(self.file(tmp_path, b"abc"), 1, 5)
        pieces = iter(body)
        assert next(pieces) == b"bc"
        with pytest.raises(Truncated) as caught:
            next(pieces)
        assert caught.value.missing == 3
        body.close()

    @pytest.mark.parametrize(("start", "length"), [(-1, 5), (0, -1)])
    def test_nonsense(self, start, length):
        with pytest.raises(ValueError):
            FileRange(io.BytesIO(b""), start, length)

    def test_in_flask(self, tmp_path):
        import flask

        app = flask.Flask("test")
        bodies = []

        @app.get("/")
        def layer():
            body = FileRange(self.file(tmp_path, b"0123456789"), 2, 5)
            bodies.append(body)
            answer = flask.Response(body, 206, direct_passthrough=True)
            answer.headers["Content-Length"] = "5"
            return answer

        client = app.test_client()
        with client.get("/") as answer:
            assert answer.data == b"23456"
        with client.head("/") as answer:
            assert (answer.data, answer.headers["Content-Length"]) == (b"", "5")
        assert all(body.file.closed for body in bodies)


def test_client_resets_while_it_reads(serving):
    sock = serving.connect(receive_buffer=8192)
    sock.sendall(head("GET", path_of(0, 20 * MIB)))
    sock.recv(10)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    sock.close()
    wait_for(lambda: b'"files": 0' in serving.get("/facts")[2])


def test_a_small_answer_is_one_packet(serving):
    with serving.connect() as sock:
        sock.sendall(head("GET", "/facts"))
        first = sock.recv(65536)
        assert first.startswith(b"HTTP/1.1 200 ")
        assert first.endswith(b"}")


def test_a_head_and_a_small_file_are_one_packet(serving, big_file):
    with serving.connect() as sock:
        for _ in range(2):
            sock.sendall(head("GET", path_of(7, 1000)))
            first = sock.recv(65536)
            assert first.startswith(b"HTTP/1.1 200 ")
            assert first.endswith(big_file.read_bytes()[7:1007])
