"""Request heads: one with the usual form is parsed in a few steps, any other by gunicorn's parser.

Nearly every head that a registry receives has the narrow form below and arrives in one packet. Heads
in this exact form pass every check that gunicorn makes on the head as a whole. gunicorn's parser
reads all other heads. Its policies for single fields, and its way to find the body, apply to both.
This module also builds the WSGI environment.
"""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from typing import Any

import gevent
from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http import wsgi  # type: ignore[import-untyped]
from gunicorn.http.message import (  # type: ignore[import-untyped]
    RFC9110_5_3_SINGLETON_FIELDS,
    Request,
)

from v1registry.server.answer import Answer
from v1registry.server.log import trusted_by
from v1registry.server.sockets import ClientSocket

# Excluded are: a fragment or a leading "//", with which a target is not just path and query; values
# that are folded, empty or padded; underscores in names, which some proxies read as hyphens.
_ORDINARY = re.compile(
    r'(DELETE|GET|HEAD|PATCH|POST|PUT) (/(?!/)[!"$-~]*) HTTP/1\.1\r\n'
    r"((?:[A-Za-z0-9-]+: ?[!-~](?:[ -~]*[!-~])?\r\n)+)\r\n"
)
_FIELD = re.compile(r"([^:]+): ?([^\r]+)\r\n")
_AROUND_TARGET = len("  HTTP/1.1")


class Head(Request):  # type: ignore[misc]
    """gunicorn's Request. `ordinary`: whether its head had the narrow form."""

    ordinary = False

    def __init__(self, stall: float, *args: Any) -> None:
        """`stall`: timeout for the whole head in seconds. Over TLS, the first packet has a timeout
        of its own of the same length.
        """
        self._stall = stall
        super().__init__(*args)

    def parse(self, unreader: Any) -> bytes:
        """Read the head; return the received bytes that follow it.

        Except over TLS, the first bytes must already be in the kernel's buffer.

        :raises StopIteration: the client has closed the connection; TimeoutError; and the errors of
            gunicorn's parser.
        """
        plain = isinstance(unreader.sock, ClientSocket)  # its first read cannot block
        with nullcontext() if plain else self._timer():
            rest = self._parse_ordinary(unreader)
        if rest is None:
            with self._timer():
                rest = bytes(super().parse(unreader))
        return rest

    def _timer(self) -> gevent.Timeout:
        return gevent.Timeout(self._stall, TimeoutError("request head"))

    def _parse_ordinary(self, unreader: Any) -> bytes | None:
        """As `parse`; return None, with nothing consumed, if gunicorn's parser must read this head."""
        data: bytes = unreader.read()
        if not data:
            raise StopIteration
        end = data.find(b"\r\n\r\n") + 4  # 3 if the head is incomplete, which matches nothing
        found = _ORDINARY.fullmatch(data[:end].decode("latin-1"))
        if found is None or not self._take(*found.groups()):
            unreader.unread(data)
            return None
        return data[end:]

    def _take(self, method: str, target: str, block: str) -> bool:
        """Set the request's attributes; return False, with none set, if the head needs gunicorn's parser."""
        fields = _FIELD.findall(block)
        if (
            len(method) + len(target) + _AROUND_TARGET > self.limit_request_line > 0
            or len(fields) > self.limit_request_fields
            or len(block) > self.limit_request_field_size
            or self.cfg.proxy_protocol != "off"
        ):
            return False
        headers = [(name.upper(), value) for name, value in fields]
        names = {name for name, _ in headers}
        if "EXPECT" in names:
            return False
        self.method, self.uri, self.version = method, target, (1, 1)
        self.path, _, self.query = target.partition("?")
        self.fragment = ""
        self._apply_policy(headers)
        self.headers, self.ordinary = headers, True
        return True

    def _apply_policy(self, headers: list[tuple[str, str]]) -> None:
        secure, forwarder = self._peer_trusted_for_forwarded()
        state, seen = [False], set[str]()
        for name, value in headers:
            if name in RFC9110_5_3_SINGLETON_FIELDS or name in secure:
                self._apply_header_policy(name, value, state, seen, secure, forwarder)

    def _peer_is_trusted_proxy(self) -> bool:
        peer = self.peer_addr
        return not isinstance(peer, tuple) or trusted_by(self.cfg)(peer[0])


class Environs:
    """Creates the WSGI environments (PEP 3333) for the requests to one listener."""

    def __init__(self, cfg: Any, listener: Any) -> None:
        """`listener`: its address, as returned by `getsockname`."""
        self._cfg = cfg
        self._listener = listener
        self._mount = os.environ.get("SCRIPT_NAME", "")
        self._common: dict[str, Any] = {}
        if isinstance(listener, tuple) and not self._mount:
            self._common = {
                **wsgi.base_environ(cfg),
                "wsgi.errors": _Errors(cfg),
                "wsgi.multithread": True,
                "SERVER_PROTOCOL": "HTTP/1.1",
                "SERVER_NAME": listener[0],
                "SERVER_PORT": str(listener[1]),
                "SCRIPT_NAME": "",
            }

    def create(self, request: Head, sock: Any, addr: Any) -> tuple[Answer, dict[str, Any]]:
        """Return a new Answer and the environment. Raise what `gunicorn.http.wsgi.create` raises."""
        if not (request.ordinary and self._common):
            answer, environ = wsgi.create(
                request, sock, addr, self._listener, self._cfg, response_class=Answer
            )
            environ["wsgi.multithread"] = True
            return answer, environ
        path = request.path
        environ = {
            **self._common,
            "wsgi.input": request.body,
            "wsgi.url_scheme": request.scheme,
            "gunicorn.socket": sock,
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.query,
            "RAW_URI": request.uri,
            "PATH_INFO": util.unquote_to_wsgi_str(path) if "%" in path else path,
            "REMOTE_ADDR": addr[0],
            "REMOTE_PORT": str(addr[1]),
        }
        for name, value in request.headers:
            key = name.replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
                if key in environ:
                    value = f"{environ[key]},{value}"
            environ[key] = value
        return Answer(request, sock, self._cfg), environ


class _Errors:
    """`wsgi.errors`: writes to the error log that is open at the time of the write."""

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg

    def write(self, text: str) -> None:
        wsgi.WSGIErrorsWrapper(self._cfg).write(text)

    def writelines(self, lines: list[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        """Do nothing: every write is flushed at once."""
