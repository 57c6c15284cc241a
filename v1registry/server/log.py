"""The access and error logs, as plain text or JSON: gunicorn's `logger_class`.

Each request has one line: time, request id, client address, method, path, status, bytes sent, bytes
received, milliseconds, user agent. Queries and credentials are never logged. All text from clients
is escaped, so that no client can forge a line.
"""

from __future__ import annotations

import _thread
import ipaddress
import json
import logging
import re
import time
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache, partial
from logging.handlers import SysLogHandler
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from v1registry.server.redact import escape, mask, one_line, path_of

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")


def is_request_id(text: str) -> bool:
    """Return whether a proxy's X-Request-Id is safe to log and to send back."""
    return _REQUEST_ID.fullmatch(text) is not None


# The client's address


def client_address(environ: dict[str, Any], cfg: Any) -> tuple[str, bool]:
    """Return the client's address, and whether the peer is a trusted proxy.

    X-Forwarded-For is read from the right. Each trusted proxy has added the address of its own peer,
    so the first untrusted address is the client. Trusted are the `forwarded_allow_ips` of `cfg`
    (gunicorn's configuration), and peers without an address (Unix sockets).
    """
    peer = environ.get("REMOTE_ADDR") or ""
    if peer.startswith("::ffff:"):
        peer = _host(peer) or peer
    is_trusted = trusted_by(cfg)
    trusted = not peer or is_trusted(peer)
    if not trusted:
        return peer, False
    address = peer
    forwarded = environ.get("HTTP_X_FORWARDED_FOR")
    if forwarded:
        for hop in reversed(forwarded.split(",")[-32:]):
            host = _host(hop.strip())
            if host is None:
                break
            address = host
            if not is_trusted(host):
                break
    return address or "-", True


@lru_cache(maxsize=1)
def trusted_by(cfg: Any) -> Callable[[str], bool]:
    """Return a function that tells whether an address is in gunicorn's `forwarded_allow_ips`."""
    networks = tuple(cfg.forwarded_allow_networks())
    if "*" in cfg.forwarded_allow_ips:
        networks = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
    return lru_cache(maxsize=4096)(partial(_is_within, networks))


def _is_within(networks: tuple[Any, ...], host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _host(text: str) -> str | None:
    """Parse an address as proxies write it: `1.2.3.4`, `1.2.3.4:80`, `[::1]:80`. None if malformed."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    # A listener on [::] sees IPv4 clients as mapped addresses; one client must have one address. A
    # zone (`%eth0`) can be any text, and has a meaning only on the machine that added it.
    return str(address.ipv4_mapped or ipaddress.IPv6Address(int(address)))


# The format of lines


class PlainFormatter(logging.Formatter):
    """Formats a record as `[time] [pid] [LEVEL] message`. Tracebacks are indented, secrets masked."""

    def __init__(self, form: str = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s") -> None:
        super().__init__(form)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return the record's time as ISO 8601 in UTC."""
        return f"[{timestamp(record.created)}]"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line, with control characters escaped and secrets masked."""
        record.message = one_line(mask(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the traceback, indented so that no line looks like a line of the log."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"    {one_line(mask(line))}" for line in lines)


class JSONFormatter(logging.Formatter):
    """Formats a record as a JSON object: time, level, pid, logger, message, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        entry: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "pid": record.process,
            "logger": record.name,
            "message": mask(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = mask(self.formatException(record.exc_info))
        return json.dumps(entry)


def timestamp(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC, with milliseconds."""
    whole = int(seconds)
    return f"{_date(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _date(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


class PlainLogger(Logger):  # type: ignore[misc]
    """Writes both logs as plain text."""

    formatter: type[logging.Formatter] = PlainFormatter

    def setup(self, cfg: Any) -> None:
        """Open the logs. The loggers of our modules write into the error log."""
        super().setup(cfg)
        # Otherwise each record looks up the names of its thread and process, which no line shows.
        logging.logThreads = logging.logMultiprocessing = False
        for handler in self.access_log.handlers:
            # gevent's lock is written in Python and is acquired three times per line, which is slow.
            # A native lock is safe here: a greenlet that writes to a file does not switch while it
            # holds the lock. With syslog it might.
            if isinstance(handler, logging.StreamHandler):
                handler.lock = _thread.RLock()
        for handler in self.error_log.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setFormatter(self.formatter())
            elif isinstance(handler, SysLogHandler) and handler.formatter is not None:
                # Keep the prefix of its lines.
                handler.setFormatter(PlainFormatter(str(handler.formatter._fmt)))
        ours = logging.getLogger("v1registry")
        ours.setLevel(self.loglevel)
        ours.handlers[:] = self.error_log.handlers
        ours.propagate = False

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Write the line of a finished request."""
        if not self.access_log_enabled:
            return
        line = self.line(resp, environ, request_time / timedelta(milliseconds=1))
        # Logger.info would search the stack for its caller, which no line shows.
        record = logging.LogRecord("gunicorn.access", logging.INFO, "", 0, line, None, None)
        self.access_log.handle(record)

    def line(self, resp: Any, environ: dict[str, Any], milliseconds: float) -> str:
        """Return the plain line: fields in a fixed order, text from clients in quotes."""
        get = environ.get
        received = get("v1registry.received", "-")
        return (
            f"{timestamp(time.time())} {get('v1registry.request_id', '-')} {escape(_client(environ))}"
            f' "{escape(environ["REQUEST_METHOD"])} {escape(_path(environ))}"'
            f" {_status(resp)} {resp.sent} {received} {milliseconds:.1f}ms"
            f' "{escape(get("HTTP_USER_AGENT", "-"))}"'
        )


class JSONLogger(PlainLogger):
    """Writes both logs as JSON, one object per line."""

    formatter = JSONFormatter

    def line(self, resp: Any, environ: dict[str, Any], milliseconds: float) -> str:
        """Return the same fields as a JSON object."""
        get = environ.get
        entry = {
            "time": timestamp(time.time()),
            "request_id": get("v1registry.request_id"),
            "client": _client(environ),
            "method": environ["REQUEST_METHOD"],
            "path": _path(environ),
            "status": _status(resp),
            "bytes_sent": resp.sent,
            "bytes_received": get("v1registry.received"),
            "duration_ms": round(milliseconds, 1),
            "user_agent": get("HTTP_USER_AGENT"),
        }
        return json.dumps(entry)


def _client(environ: dict[str, Any]) -> str:
    return str(environ.get("v1registry.client") or environ.get("REMOTE_ADDR") or "-")


def _path(environ: dict[str, Any]) -> str:
    return path_of(str(environ.get("RAW_URI", "-")))


def _status(resp: Any) -> int:
    status = resp.status
    return int(status[:3]) if isinstance(status, str) else 0
