"""Finds the cause of a failed request: libraries wrap it several times in exceptions of their own."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Iterator

import urllib3

_LONGEST = 500  # characters
# `HTTPConnectionPool(host='r.example', port=80): `, `<...Connection object at 0x7f...>: `
_OBJECT = re.compile(
    r"\w+\(host=[^)]*\)(?:: )?|<[\w.]+(?:<locals>[\w.]+)* object at 0x[0-9a-f]+>(?:: )?"
)
_SSL = re.compile(r"^\[[^\]]*\] | \(_ssl\.c:\d+\)")
_BROKEN = (
    http.client.HTTPException,
    urllib3.exceptions.ProtocolError,
)
_LIBRARY = re.compile(
    r"\w+\(host=| object at 0x|\(Caused by |\('[^']*', \w+\(|Max retries exceeded"
)


def reason_of(error: BaseException) -> str:
    """Return the innermost cause of a failed request, without names of classes."""
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLError):
            return _SSL.sub("", str(one.args[-1] if one.args else one))[:_LONGEST]
        if isinstance(one, socket.gaierror):
            return f"the host's name cannot be resolved: {one.strerror}"
    # in urllib3, NewConnectionError is a kind of timeout, though it is none
    others = [one for one in chain if not isinstance(one, urllib3.exceptions.NewConnectionError)]
    if any(isinstance(one, urllib3.exceptions.ConnectTimeoutError) for one in others):
        return "no connection: timed out"
    timeouts = (TimeoutError, urllib3.exceptions.TimeoutError)
    if any(isinstance(one, timeouts) for one in others):
        return "no answer: timed out"
    for one in chain:
        if isinstance(one, OSError) and one.errno is not None and one.strerror:
            return one.strerror
    if any(isinstance(one, _BROKEN) for one in chain):
        return "the connection was closed before the answer was complete"
    return _OBJECT.sub("", str(chain[-1]))[:_LONGEST]


def described(error: BaseException) -> str:
    """Return the error's text; if it contains internals of a library, the URL and the cause."""
    text = str(error)
    if not _LIBRARY.search(text):
        return text
    for one in _chain(error):
        url = getattr(getattr(one, "request", None), "url", None)
        if url:
            return f"{str(url).partition('?')[0]}: {reason_of(error)}"
    return reason_of(error)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all its causes, the innermost last."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        parts = [*one.args, getattr(one, "reason", None), one.__cause__ or one.__context__]
        waiting += [part for part in parts if isinstance(part, BaseException)]
