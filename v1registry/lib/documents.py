"""JSON as the protocol speaks it: read with bounds, written as 0.x wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from v1registry.lib import errors
from v1registry.lib.errors import Failure

_AT_ONCE = 1000  # members of an array or object that are written in one go
# Escapes; a backslash that is escaped itself begins none.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BLANKS = re.compile(r"[ \t\n\r]*")


def parse(data: bytes, failure: errors.Text = errors.JSON_INVALID) -> Any:
    """Parse JSON in UTF-8; raise `failure` for anything else.

    NaN and Infinity are not JSON; nesting too deep and integers too long for
    the parser count as invalid.
    """
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Failure(*failure) from None


def parse_text(data: bytes, failure: errors.Text = errors.JSON_INVALID) -> Any:
    """Parse JSON whose strings are to be kept as text.

    Raise Failure 400 also for a NUL, which PostgreSQL cannot keep, and for a lone surrogate, which
    has no form in UTF-8.
    """
    value = parse(data, failure)
    if _NUL.search(data):
        raise Failure(*errors.TEXT_INVALID)
    try:
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (UnicodeEncodeError, RecursionError):
        raise Failure(*errors.TEXT_INVALID) from None
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def elements(data: bytes) -> Iterator[Any]:
    """The elements of a JSON array one by one, so that they need not be in memory together.

    Raises ValueError where the text is no array.
    """
    text = data.decode("utf-8")
    decode = json.JSONDecoder(parse_constant=_refuse).raw_decode
    at = _after_blanks(text, 0)
    if text[at : at + 1] != "[":
        raise ValueError("no JSON array")
    at = _after_blanks(text, at + 1)
    mark = ","
    if text[at : at + 1] == "]":
        mark, at = "]", _after_blanks(text, at + 1)
    while mark == ",":
        value, at = decode(text, at)
        yield value
        at = _after_blanks(text, at)
        mark = text[at : at + 1]
        at = _after_blanks(text, at + 1)
    if mark != "]" or at != len(text):
        raise ValueError("no JSON array")


def _after_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def dump(value: Any) -> bytes:
    """Keys sorted, `, ` and `: ` between (protocol-v1.md section 1), ASCII only."""
    if _is_large(value):
        return b"".join(_pieces(value))
    return _dump(value)


def _dump(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode("ascii")


def _is_large(value: Any) -> bool:
    """Whether writing the value in one go would stop all other threads for too long."""
    if isinstance(value, dict):
        return len(value) > _AT_ONCE or any(
            isinstance(member, dict | list) and len(member) > _AT_ONCE for member in value.values()
        )
    return isinstance(value, list) and len(value) > _AT_ONCE


def _pieces(value: Any) -> Iterator[bytes]:
    """The text of a large array or object in pieces; the interpreter's lock is free in between."""
    if isinstance(value, list):
        for start in range(0, len(value), _AT_ONCE):
            yield b", " if start else b"["
            yield _dump(value[start : start + _AT_ONCE])[1:-1]
        yield b"]"
        return
    names = sorted(value)
    if any(_is_large(member) for member in value.values()):
        for number, name in enumerate(names):
            yield b", " if number else b"{"
            yield _dump(name) + b": "
            yield dump(value[name])
    else:
        for start in range(0, len(names), _AT_ONCE):
            yield b", " if start else b"{"
            yield _dump({name: value[name] for name in names[start : start + _AT_ONCE]})[1:-1]
    yield b"}"
