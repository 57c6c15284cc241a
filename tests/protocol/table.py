"""Table tests of the protocol: each row has one request and its complete response."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime

from tests import raw
from tests.live_server import Server

# How a header is to be: its text, absent, or a condition on its text.
Header = str | None | Callable[[str], bool]


def not_empty(text: str) -> bool:
    return bool(text.strip())


# protocol-v1.md section 1
ORDINARY: Mapping[str, Header] = {
    "Content-Type": "application/json",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "Last-Modified": None,
    "ETag": None,
    "X-Docker-Registry-Version": not_empty,
}
IMMUTABLE: Mapping[str, Header] = {
    "Content-Type": "application/json",
    "Cache-Control": "public, max-age=31536000",
    "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT",
    "Pragma": None,
    "ETag": None,
    "X-Docker-Registry-Version": not_empty,
}
LAYER: Mapping[str, Header] = {
    **IMMUTABLE,
    "Content-Type": "application/octet-stream",
    "Accept-Ranges": "bytes",
}
HTML: Mapping[str, Header] = {
    "Content-Type": lambda text: text.startswith("text/html"),
    "X-Docker-Token": None,
}
PLAIN: Mapping[str, Header] = {
    "Content-Type": lambda text: text.startswith("text/plain"),
    "Docker-Distribution-Api-Version": None,
    "WWW-Authenticate": None,
}

ANY = object()  # a body that the row does not look at


@dataclass(frozen=True)
class Row:
    """One request and its answer. `want` is the body: bytes, a value for JSON, a condition."""

    what: str
    method: str
    path: str
    status: int
    want: object = True
    heads: Mapping[str, Header] = field(default_factory=lambda: ORDINARY)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    more: Mapping[str, Header] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.what}"


def error(text: str) -> dict[str, str]:
    """Check the form of errors: engines decode them into a map of strings, so each value is one."""
    return {"error": text}


def check(server: Server, row: Row) -> raw.Answer:
    """Send the row's request and compare the response with the row."""
    answer = raw.request(server, row.method, row.path, row.headers, row.body)
    assert answer.status == row.status, str(answer)
    check_headers(answer, {**row.heads, **row.more})
    check_body(answer, row.want)
    return answer


def check_headers(answer: raw.Answer, wanted: Mapping[str, Header]) -> None:
    for name, value in wanted.items():
        found = answer.header(name)
        if callable(value):
            assert found is not None, f"no {name} in {answer}"
            assert value(found), f"{name} is {found!r} in {answer}"
        else:
            assert found == value, f"{name} is {found!r}, not {value!r} in {answer}"
    if str(wanted.get("Cache-Control")).endswith("max-age=31536000"):
        check_a_year(answer)


def check_a_year(answer: raw.Answer) -> None:
    """Expires is a year from now."""
    expires, date = answer.header("Expires"), answer.header("Date")
    assert expires, str(answer)
    assert date, str(answer)
    left = parsedate_to_datetime(expires) - parsedate_to_datetime(date)
    assert abs(left - timedelta(days=365)) <= timedelta(seconds=2), str(answer)


def check_body(answer: raw.Answer, want: object) -> None:
    if want is ANY:
        return
    if callable(want):
        assert want(answer.body), str(answer)
        return
    if not isinstance(want, bytes):
        # `, ` and `: ` between, keys sorted: old scripts compare text
        want = json.dumps(want, sort_keys=True).encode()
    assert answer.body == want, str(answer)
