"""JSON as Go's encoding/json reads and writes it, byte for byte, as far as engines need it.

It differs from other libraries: each byte that is not UTF-8 is read as U+FFFD, and kept in values that
are passed on without parsing. `<`, `>`, `&`, U+2028 and U+2029 are escaped. Names of fields ignore
case, and the last of equal names is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from v1registry.lib import documents

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'  # a simpler pattern takes ten times as long for long strings
_SPACE = re.compile(_STRING + rb"|[ \t\r\n]+", re.DOTALL)
_TOKEN = re.compile(_STRING + rb'|[{}\[\],:]|[^"{}\[\],:]+', re.DOTALL)
_MARKUP = {
    b"<": b"\\u003c",
    b">": b"\\u003e",
    b"&": b"\\u0026",
    b"\xe2\x80\xa8": b"\\u2028",
    b"\xe2\x80\xa9": b"\\u2029",
}

# Two characters beyond ASCII fold to letters: the Kelvin sign and the long s.
_FOLD = str.maketrans({"\u212a": "k", "\u017f": "s"} | {chr(c): chr(c + 32) for c in range(65, 91)})


class NotJSON(ValueError):
    """The text is not JSON, or is nested too deeply."""


class Number(str):
    """A number as it is written."""

    __slots__ = ()


class Object(list[tuple[str, Any]]):
    """The members of an object in order, including equal names."""


def parse(data: bytes) -> Any:
    """Return the value: `Object`, list, str, `Number`, bool or None. Raise NotJSON."""
    try:
        return documents.loads(
            data.decode("utf-8", "surrogateescape"),
            object_pairs_hook=Object,
            parse_int=Number,
            parse_float=Number,
        )
    except ValueError as error:
        raise NotJSON(str(error)) from None
    except RecursionError:
        raise NotJSON("nested too deeply") from None


def text(value: str) -> str:
    """Return a text from `parse` as Go reads it, with U+FFFD for invalid characters."""
    return _SURROGATE.sub("\ufffd", value)


def same_name(field: str, name: str) -> bool:
    """Return whether a member with this name is the field."""
    return field.translate(_FOLD) == name.translate(_FOLD)


def members(data: bytes) -> dict[str, bytes]:
    """Return the members of an object, with each value as it is written, without white space.

    Raise NotJSON, also if the value is not an object.
    """
    if not isinstance(parse(data), Object):
        raise NotJSON("not an object")
    return dict(_members(compact(data)))


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the names and values of a compact object."""
    depth, start, name = 0, 0, ""
    for token in _TOKEN.finditer(data):
        mark = token[0]
        if depth == 1 and mark in (b",", b"}"):
            if start:
                yield name, data[start : token.start()]
            start = 0
        elif depth == 1 and not start:
            if mark == b":":
                start = token.end()
            else:
                name = text(parse(mark))
        if mark in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1


def compact(data: bytes) -> bytes:
    """Return JSON without white space and with the five characters escaped, without parsing it."""
    data = _SPACE.sub(lambda match: match[0] if match[0][:1] == b'"' else b"", data)
    for character, escape in _MARKUP.items():
        data = data.replace(character, escape)
    return data


def string(value: str) -> bytes:
    """Return a quoted text."""
    return b'"' + _ESCAPED.sub(_escape, value).encode("utf-8") + b'"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return _SHORT.get(character) or f"\\u{ord(character):04x}"


def array(values: Iterable[bytes]) -> bytes:
    """Return a list of encoded values."""
    return b"[" + b",".join(values) + b"]"


def object_of(values: Iterable[tuple[str, bytes]]) -> bytes:
    """Return an object of encoded values, in this order."""
    return b"{" + b",".join(string(name) + b":" + value for name, value in values) + b"}"


def mapping(values: dict[str, bytes]) -> bytes:
    """Return an object of encoded values, sorted by the bytes of the names, as Go writes a map."""
    return object_of(sorted(values.items(), key=lambda item: item[0].encode("utf-8")))
