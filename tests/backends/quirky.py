"""A reverse proxy that gives a real v2 registry the peculiarities of other registries.

with Quirky(registry.port) as quirky:
    quirky.before = lambda request: Answer(416) if request.method == "PATCH" else None
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from tests.tls import Certificate

_OWN = {"content-length", "transfer-encoding", "connection"}


@dataclass
class Asked:
    """A request that arrived. `headers` have names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    status: int = 0


@dataclass
class Answer:
    """An answer; a header may be there several times."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


class Quirky:
    """Listens on the loopback; `target` is the registry's port, `tls` a certificate to use.

    `before` may answer in place of the registry; `after` may change what the registry answered.
    `asked` lists all requests.
    """

    def __init__(self, target: int, tls: Certificate | None = None) -> None:
        self._target = target
        self.before: Callable[[Asked], Answer | None] = lambda asked: None
        self.after: Callable[[Asked, Answer], Answer] = lambda asked, answer: answer
        self.asked: list[Asked] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def parse_request(self) -> bool:
                if not super().parse_request():
                    return False
                self.do_ANY()
                return False

            def do_ANY(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, body)
                answer = outer._answer(asked)
                self.send_response(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                if not any(name.lower() == "content-length" for name, _ in answer.headers):
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)
                self.close_connection = False

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.both)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def _answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        answer = self.before(asked)
        if answer is None:
            answer = self.after(asked, self._forward(asked))
        asked.status = answer.status
        return answer

    def _forward(self, asked: Asked) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._target, timeout=60)
        try:
            connection.request(asked.method, asked.path, asked.body, asked.headers)
            answer = connection.getresponse()
            body = answer.read()
            kept = _OWN - ({"content-length"} if asked.method == "HEAD" else set())
            headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in kept]
            return Answer(answer.status, headers, body)
        finally:
            connection.close()

    def __enter__(self) -> Quirky:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
