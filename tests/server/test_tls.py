"""A TLS listener: other code sends and receives there, with the same result."""

import os
import socket
import ssl
import subprocess
import time
import warnings

import pytest

from tests.server.serving import Serving, chunked, head, read_answer
from tests.server.test_receive import TE, json_of, sha
from tests.waiting import wait_for

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def secure(tmp_path_factory, big_file):
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subject = ["-subj", "/CN=localhost", "-days", "2"]
    files = ["-keyout", key, "-out", certificate]
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", *subject, *files],
        check=True,
        capture_output=True,
    )
    with Serving(
        folder,
        file=big_file,
        tls=(certificate, key),
        environ={"GUNICORN_STALL_TIMEOUT": "2", "GUNICORN_KEEPALIVE": "5"},
    ) as serving:
        yield serving


def test_upload(secure):
    parts = [os.urandom(32768) for _ in range(100)]
    whole = b"".join(parts)
    found = json_of(secure.get("/receive", "PUT", TE, chunked(*parts)))
    assert found["sha256"] == sha(whole)
    assert not found["direct"]
    headers = [("Content-Length", len(whole))]
    assert json_of(secure.get("/receive", "PUT", headers, whole))["sha256"] == sha(whole)


def test_upload_errors(secure):
    assert secure.get("/receive", "PUT", TE, b"zz\r\nhello\r\n0\r\n\r\n")[0] == 400
    assert secure.get("/receive?limit=4", "PUT", TE, chunked(b"hello"))[0] == 413
    with secure.connect() as sock:
        sock.sendall(head("PUT", "/receive", TE) + b"5\r\nhe")
        assert read_answer(sock)[0] == 408


def test_download_and_keep_alive(secure, big_file):
    data = big_file.read_bytes()
    with secure.connect() as sock:
        for start, length in ((0, len(data)), (5 * MIB + 3, 2 * MIB), (0, 1)):
            sock.sendall(head("GET", f"/send?start={start}&length={length}"))
            assert read_answer(sock)[2] == data[start : start + length]
    assert secure.get("/wrapper")[2] == data
    assert json_of(secure.get("/facts"))["scheme"] == "https"


def test_a_slow_reader_is_not_cut(secure, big_file):
    """The timeout restarts whenever the client receives bytes."""
    length = 6 * MIB
    with secure.connect(receive_buffer=32768) as sock:
        sock.sendall(head("GET", f"/send?start=0&length={length}"))
        received = 0
        started = time.monotonic()
        while time.monotonic() - started < 4:
            received += len(sock.recv(16384))
            time.sleep(0.05)
        while received < length and (piece := sock.recv(1 << 20)):
            received += len(piece)
        assert received >= length


def test_plain_http_on_the_tls_port(secure):
    with socket.create_connection(("127.0.0.1", secure.port)) as sock:
        sock.settimeout(10)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(OSError):
            while sock.recv(100):
                pass
            raise ConnectionResetError
    wait_for(lambda: "handshake failed" in secure.log)
    assert "Traceback" not in secure.log + secure.output.read_text()


def test_a_stalled_handshake_has_a_timeout(secure):
    with socket.create_connection(("127.0.0.1", secure.port)) as sock:
        sock.settimeout(10)
        sock.sendall(b"\x16\x03")
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            pass
    assert secure.get("/facts")[0] == 200
    assert "Traceback" not in secure.log + secure.output.read_text()


def test_old_tls_is_refused(secure):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", secure.port)) as sock:
        sock.settimeout(10)
        with pytest.raises(OSError):
            context.wrap_socket(sock)


def test_new_tls_with_1_2(secure):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", secure.port)) as plain:
        with context.wrap_socket(plain) as sock:
            sock.sendall(head("GET", "/facts"))
            assert read_answer(sock)[0] == 200
