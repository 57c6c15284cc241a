"""JSON documents: reading within limits, and writing in the form of 0.x."""

from __future__ import annotations

import json
import json.scanner
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.running import collector_off

T = TypeVar("T")

_AT_ONCE = 1000  # members, including nested ones, that are written without a pause
# Escapes. A backslash that is escaped itself begins no escape.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_VALUES_AT_ONCE = 20_000  # values that are parsed without a pause: about 20 ms
_MOST_VALUES = 500_000  # an image list of 4 MiB has at most 170,000
_DIGITS = 308  # every integer of at most 308 digits is within the range of a double
_LONGEST = 4300  # digits; Python's own limit for integers
# A string without an end matches up to the end of the text. Otherwise the search would start again at
# each escaped quote, and its time would be quadratic in the length.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BLANKS = re.compile(r"[ \t\n\r]*")


def parse(data: bytes, failure: errors.Text = errors.JSON_INVALID, *, opaque: bool = False) -> Any:
    """Parse JSON in UTF-8 that a client sent; raise `failure` for any other text.

    NaN and Infinity are not JSON. Deep nesting, very many values, and numbers beyond the range of a
    double are invalid: they cannot be written back as JSON that every client reads. `opaque` is for a
    document that is stored as it is: numbers may have 4300 digits and are returned as 0.
    """
    try:
        text = data.decode("utf-8")
        if opaque:
            return loads(text, parse_int=_zero, parse_float=_zero)
        return loads(text, parse_int=_integer, parse_float=_float)
    except (ValueError, RecursionError):
        raise Failure(*failure) from None


def parse_text(data: bytes, failure: errors.Text = errors.JSON_INVALID) -> Any:
    """Parse JSON whose strings will be stored as text.

    Raise Failure 400 also for a NUL, which PostgreSQL cannot store, and for a lone surrogate, which
    cannot be encoded in UTF-8.
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


def load(data: bytes) -> Any:
    """Parse JSON from the store. Invalid numbers, which 0.x may have written, become None.

    Raise ValueError.
    """
    try:
        return loads(
            data.decode("utf-8"),
            parse_int=_or_none(_integer),
            parse_float=_or_none(_float),
            parse_constant=lambda _: None,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def loads(text: str, **hooks: Any) -> Any:
    """Parse JSON as `json.loads` does, but refuse texts of more than 500,000 values.

    The parser in C holds the interpreter's lock until it ends and so stops all other threads. So the
    parser in Python parses texts of many values. Raise ValueError or RecursionError.
    """
    decoder = json.JSONDecoder(**{"parse_constant": _refuse, **hooks})
    if _marks(text) <= _VALUES_AT_ONCE:
        return decoder.decode(text)
    if _marks(_STRING.sub("", text)) > _MOST_VALUES:
        raise ValueError("too many values")
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    with collector_off():
        return decoder.decode(text)


def _marks(text: str) -> int:
    """Return the number of values in a text, or more if its strings contain these characters."""
    return sum(map(text.count, ",[{"))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number beyond the range of a double")
    return value


def _zero(text: str) -> int:
    if len(text) > _LONGEST:
        raise ValueError("a number of too many digits")
    return 0


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        _float(text)
    return int(text)


def _or_none(read: Callable[[str], T]) -> Callable[[str], T | None]:
    def read_or_none(text: str) -> T | None:
        try:
            return read(text)
        except ValueError:
            return None

    return read_or_none


def elements(data: bytes) -> Iterator[Any]:
    """Yield the elements of a JSON array one by one, so that they are not in memory together.

    Raise ValueError if the text is not an array.
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


def grouped_members(data: bytes) -> Iterator[tuple[str, str, Any]]:
    """Yield group, name and value of an object of objects one by one.

    Raise ValueError if the text is none.
    """
    text = data.decode("utf-8")
    decode = json.JSONDecoder(parse_constant=_refuse).raw_decode
    at = _after(text, 0, "{")
    while text[at : at + 1] != "}":
        group, at = decode(text, at)
        at = _after(text, _after(text, at, ":"), "{")
        while text[at : at + 1] != "}":
            name, at = decode(text, at)
            value, at = decode(text, _after(text, at, ":"))
            yield str(group), str(name), value
            at = _next_member(text, at)
        at = _next_member(text, _after(text, at, "}"))
    if _after(text, at, "}") != len(text):
        raise ValueError("no JSON object")


def _after(text: str, at: int, mark: str) -> int:
    """Return the place after `mark` and the blanks around it."""
    at = _after_blanks(text, at)
    if text[at : at + 1] != mark:
        raise ValueError("no JSON object")
    return _after_blanks(text, at + 1)


def _next_member(text: str, at: int) -> int:
    """Return the place of the next member, or of the bracket at the end."""
    at = _after_blanks(text, at)
    return at if text[at : at + 1] == "}" else _after(text, at, ",")


def _after_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def dump(value: Any) -> bytes:
    """Return JSON with sorted keys, separators `, ` and `: ` (protocol-v1.md section 1), ASCII only."""
    return b"".join(_pieces(value)) if is_large(value) else _dump(value)


def is_large(value: Any) -> bool:
    """Return whether writing the value without a pause would stop all other threads for too long."""
    return _count(value) > _AT_ONCE


def _count(value: Any, most: int = _AT_ONCE) -> int:
    """Return the number of members, including nested ones; stop soon after `most`."""
    if not isinstance(value, dict | list):
        return 0
    count = len(value)
    for member in value.values() if isinstance(value, dict) else value:
        if count > most:
            break
        count += _count(member, most - count)
    return count


def _dump(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False).encode("ascii")


def _pieces(value: Any) -> Iterator[bytes]:
    """Yield the text of a large value in pieces; the interpreter's lock is free in between."""
    is_list = isinstance(value, list)
    names: list[Any] = list(range(len(value))) if is_list else sorted(value)
    yield b"[" if is_list else b"{"
    between, count = b"", 0
    batch: list[Any] = []
    for name in names:
        size = _count(value[name])
        if batch and count + size >= _AT_ONCE:
            yield between + _members(value, batch)
            between, batch, count = b", ", [], 0
        if size > _AT_ONCE:
            yield between if is_list else between + _dump(name) + b": "
            yield from _pieces(value[name])
            between = b", "
        else:
            batch.append(name)
            count += size + 1
    if batch:
        yield between + _members(value, batch)
    yield b"]" if is_list else b"}"


def _members(value: Any, names: list[Any]) -> bytes:
    """Return the text of some members, without the brackets."""
    if isinstance(value, list):
        return _dump([value[name] for name in names])[1:-1]
    return _dump({name: value[name] for name in names})[1:-1]
