"""A real gunicorn with our worker and settings that serves tests/server/wsgi_app.py, and a raw client."""

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]

# settings() as the server uses it, with a stand-in for the configuration.
CONFIGURATION = """
import os
from types import SimpleNamespace as _space
from v1registry.server.preload import hooks as _hooks
from v1registry.server.settings import settings as _settings

globals().update(_settings(os.environ, _space(
    loglevel={loglevel!r}, log_format={log_format!r}, trusted_proxies={trusted!r},
    tls=_space(certificate={certificate!r}, key={key!r}), v2=_space(port=0))))
wsgi_app = "tests.server.wsgi_app:application"
worker_class = {worker!r}
if worker_class.startswith("v1registry."):
    globals().update(_hooks(lambda: __import__("v1registry.app")))
"""

OURS = "v1registry.server.worker.Worker"
STOCK = "gevent"


class Serving:
    """gunicorn on a free port of the loopback interface while the `with` block runs."""

    def __init__(
        self,
        folder,
        *,
        file="",
        workers=1,
        worker=OURS,
        log_format="plain",
        loglevel="debug",
        trusted=(),
        tls=(None, None),
        environ=None,
        program="v1registry.server",
    ):
        folder.mkdir(exist_ok=True, parents=True)
        self.access_log = folder / "access.log"
        self.error_log = folder / "error.log"
        self.output = folder / "output.log"
        conf = folder / "conf.py"
        conf.write_text(
            CONFIGURATION.format(
                loglevel=loglevel,
                log_format=log_format,
                trusted=list(trusted),
                certificate=tls[0],
                key=tls[1],
                worker=worker,
            )
        )
        self.conf = conf
        self.program = program  # "gunicorn": without our master
        self.obstacle = folder / "obstacle"  # "exit" or "raise": no process can start
        self.tls = tls[0] is not None
        self.environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SERVING_FILE": str(file),
            "SERVING_OBSTACLE": str(folder / "obstacle"),
            "REGISTRY_HOST": "127.0.0.1",
            "REGISTRY_PORT": "0",
            "GUNICORN_WORKERS": str(workers),
            "GUNICORN_ACCESS_LOG_FILE": str(self.access_log),
            "GUNICORN_ERROR_LOG_FILE": str(self.error_log),
            **(environ or {}),
        }

    def __enter__(self):
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.program, "-c", str(self.conf)],
                cwd=ROOT,
                env=self.environ,
                stdout=output,
                stderr=output,
            )
        try:
            found = wait_for(lambda: re.search(r"Listening at: \w+://[^ ]+:(\d+)", self.log), 20)
            self.port = int(found[1])
            wait_for(self.answers, 20)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"gunicorn ended:\n{self.log}\n{self.output.read_text()}")
        try:
            return self.get("/facts")[0] == 200
        except OSError:
            return False

    @property
    def log(self):
        return self.error_log.read_text() if self.error_log.exists() else ""

    @property
    def access_lines(self):
        return self.access_log.read_text().splitlines() if self.access_log.exists() else []

    def line_of(self, answer):
        """Return the access log line of an answer, which is written after the answer is sent."""
        identity = answer[1]["X-Request-Id"]
        return wait_for(lambda: [line for line in self.access_lines if identity in line])[0]

    def connect(self, timeout=20, receive_buffer=None):
        sock = socket.socket()
        sock.settimeout(timeout)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            sock.connect(("127.0.0.1", self.port))
        except BaseException:
            sock.close()
            raise
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        return sock

    def get(self, path, method="GET", headers=(), body=b"", http_version="1.1"):
        """Send one request on its own connection; return status, headers and body."""
        with self.connect() as sock:
            sock.sendall(
                head(method, path, [*headers, ("Connection", "close")], http_version) + body
            )
            return read_answer(sock, method)


def head(method, path, headers=(), version="1.1"):
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def read_answer(sock, method="GET"):
    """Read the next answer on a connection, and no byte more; return status, headers and body."""
    response = http.client.HTTPResponse(_Unbuffered(sock), method=method)
    response.begin()
    return response.status, response.headers, response.read()


class _Unbuffered:
    def __init__(self, sock):
        self.sock = sock

    def makefile(self, mode):
        return _Reader(self.sock)


class _Reader:
    """A file on a socket without read-ahead: the bytes of a next answer stay in the socket."""

    def __init__(self, sock):
        self.sock = sock
        self.closed = False

    def readline(self, limit=-1):
        line = b""
        while not line.endswith(b"\n") and (limit < 0 or len(line) < limit):
            byte = self.sock.recv(1)
            if not byte:
                break
            line += byte
        return line

    def read(self, size=-1):
        parts = []
        while size:
            part = self.sock.recv(65536 if size < 0 else min(size, 65536))
            if not part:
                break
            parts.append(part)
            size -= len(part) if size > 0 else 0
        return b"".join(parts)

    def flush(self):
        pass

    def close(self):
        self.closed = True


def chunked(*parts):
    """Return `parts` as a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"
