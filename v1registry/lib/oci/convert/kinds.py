"""The types into which engines decode an image's JSON: reading, zero values, writing.

A kind reads a value of `gojson.parse` over the previous value, and writes it. If a name appears twice,
structures and maps are merged, as in Go. `null` leaves texts, numbers and structures unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from v1registry.lib.oci.convert import gojson
from v1registry.lib.oci.convert.gojson import Number, Object

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

NO_TIME = "0001-01-01T00:00:00Z"


class Mistyped(ValueError):
    """The value has another type, so engines refuse the image; the text says where."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A type. `read(value, old)` returns the new value; `omitempty` omits values that `is_empty`."""

    zero: Any
    read: Callable[[Any, Any], Any]
    write: Callable[[Any], bytes]
    is_empty: Callable[[Any], bool] = lambda value: not value


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a structure, with the name that is written."""

    name: str
    kind: Kind
    omitempty: bool = False


def struct(*fields: Field) -> Kind:
    """Return the kind of a structure, which is read into a dictionary of all fields."""
    zero = {field.name: field.kind.zero for field in fields}
    exact = {field.name: field for field in fields}

    def find(name: str) -> Field | None:
        return exact.get(name) or next(
            (field for field in fields if gojson.same_name(field.name, name)), None
        )

    def read(value: Any, old: dict[str, Any]) -> dict[str, Any]:
        if value is None:
            return old
        if not isinstance(value, Object):
            raise Mistyped("is not an object")
        new = dict(old)
        for name, item in value:
            field = find(gojson.text(name))
            if field is None:
                continue
            try:
                new[field.name] = field.kind.read(item, new[field.name])
            except Mistyped as error:
                dot = "." if isinstance(error.__cause__, Mistyped) else " "
                raise Mistyped(f"{field.name}{dot}{error}") from error
        return new

    def write(value: dict[str, Any]) -> bytes:
        return gojson.object_of(
            (field.name, field.kind.write(value[field.name]))
            for field in fields
            if not (field.omitempty and field.kind.is_empty(value[field.name]))
        )

    return Kind(zero, read, write, lambda value: False)


def pointer(kind: Kind) -> Kind:
    """Return the kind of a value that may be missing (None)."""

    def read(value: Any, old: Any) -> Any:
        return None if value is None else kind.read(value, kind.zero if old is None else old)

    def write(value: Any) -> bytes:
        return b"null" if value is None else kind.write(value)

    return Kind(None, read, write, lambda value: value is None)


def _read_text(value: Any, old: str) -> str:
    if value is None:
        return old
    if not isinstance(value, str) or isinstance(value, Number):
        raise Mistyped("is not a text")
    return gojson.text(value)


def _read_flag(value: Any, old: bool) -> bool:
    if value is None:
        return old
    if not isinstance(value, bool):
        raise Mistyped("is neither true nor false")
    return value


def _read_integer(value: Any, old: int) -> int:
    if value is None:
        return old
    if not isinstance(value, Number) or not _INTEGER.fullmatch(value) or len(value) > 20:
        raise Mistyped("is not a whole number")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise Mistyped("is not a number of 64 bits")
    return number


def _read_texts(value: Any, old: list[str] | None) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or isinstance(value, Object):
        raise Mistyped("is not a list")
    before = old or []
    return [
        _read_text(item, before[index] if index < len(before) else "")
        for index, item in enumerate(value)
    ]


def _read_command(value: Any, _old: list[str] | None) -> list[str] | None:
    """Read a list of texts; a single text is a list of one."""
    if isinstance(value, str) and not isinstance(value, Number):
        return [gojson.text(value)]
    return _read_texts(value, None)


def _read_map(read: Callable[[Any], str | None]) -> Callable[[Any, Any], Any]:
    def read_map(value: Any, old: dict[str, str | None] | None) -> dict[str, str | None] | None:
        if value is None:
            return None
        if not isinstance(value, Object):
            raise Mistyped("is not an object")
        return {**(old or {}), **{gojson.text(name): read(item) for name, item in value}}

    return read_map


def _read_nothing(value: Any) -> None:
    if value is not None and not isinstance(value, Object):
        raise Mistyped("holds something else than objects")


def _write_texts(value: list[str] | None) -> bytes:
    return b"null" if value is None else gojson.array(map(gojson.string, value))


def _write_set(value: dict[str, None] | None) -> bytes:
    return b"null" if value is None else gojson.mapping(dict.fromkeys(value, b"{}"))


def _write_labels(value: dict[str, str] | None) -> bytes:
    if value is None:
        return b"null"
    return gojson.mapping({name: gojson.string(text) for name, text in value.items()})


def _read_time(value: Any, old: str) -> str:
    """Read a time in RFC 3339 as Go does; return it as Go writes it."""
    if value is None:
        return old
    match = _TIME.fullmatch(value) if type(value) is str else None
    if match is None:
        raise Mistyped("is not a time")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if (
        not 1 <= month <= 12
        or not 1 <= day <= _DAYS[month - 1] + (month == 2 and leap)
        or hour > 23
        or minute > 59
        or second > 59
    ):
        raise Mistyped("is not a time of any day")
    time = f"{match[1]}-{match[2]}-{match[3]}T{hour:02}:{match[5]}:{match[6]}"
    return time + _fraction(match[7]) + _zone(*match.groups()[7:])


def _fraction(digits: str | None) -> str:
    """Return `.5` for `.500`, and "" for zeros. Go reads at most 999999999 nanoseconds."""
    if digits is None:
        return ""
    nanoseconds = int(digits[1:20])
    if nanoseconds >= 10**9 or len(digits) > 20:
        raise Mistyped("is not a time: it is too exact")
    nanoseconds *= 10 ** max(0, 10 - len(digits))
    return f".{nanoseconds:09}".rstrip("0").rstrip(".")


def _zone(sign: str | None, hours: str | None, minutes: str | None) -> str:
    offset = int(hours or 0) * 60 + int(minutes or 0)
    return f"{sign}{offset // 60:02}:{offset % 60:02}" if offset else "Z"


TEXT = Kind("", _read_text, gojson.string)
FLAG = Kind(False, _read_flag, lambda value: b"true" if value else b"false")
INTEGER = Kind(0, _read_integer, lambda value: b"%d" % value)
TEXTS = Kind(None, _read_texts, _write_texts)
COMMAND = Kind(None, _read_command, _write_texts)
SET = Kind(None, _read_map(_read_nothing), _write_set)
LABELS = Kind(None, _read_map(lambda value: _read_text(value, "")), _write_labels)
TIME = Kind(NO_TIME, _read_time, gojson.string, lambda value: False)
