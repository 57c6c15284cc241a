"""Compares two image JSONs by meaning.

An engine writes an image's JSON anew for each push, with the fields that its version knows.
"""

from __future__ import annotations

import re
from typing import Any

from v1registry.lib import documents

# In these objects the names are data. In all others a name is a field of a Go structure.
_MAPS = frozenset({"ExposedPorts", "Labels", "Volumes"})
_ZERO = ("0",)
_BYTES = re.compile(r"[0-9]{1,19}")  # a 64-bit number
_TIME = re.compile(r"(.{19})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})")
_NO_TIME = "0001-01-01T00:00:00Z"  # engines write it if an image has no time


def is_same_json(one: bytes, other: bytes) -> bool:
    """Return whether two image JSONs describe the same image.

    Empty and zero members are ignored, and so is the order of members. `Size` is ignored because
    each engine measures it anew. A JSON with a duplicate name in one object equals only itself,
    because one of the values would not be compared.
    """
    if one == other:
        return True
    try:
        return _image_fields(one) == _image_fields(other)
    except (ValueError, RecursionError):
        return False


def _image_fields(data: bytes) -> dict[str, Any]:
    document = documents.loads(
        data.decode("utf-8"), parse_int=_number, parse_float=_number, object_pairs_hook=_members
    )
    if not isinstance(document, dict):
        raise ValueError("the image JSON is not an object")
    if _is_size(document.get("Size")):
        del document["Size"]
    if isinstance(created := document.get("created"), str):
        document["created"] = _time(created)
    fields: dict[str, Any] = _without_empty(document, False)
    return fields


def _number(text: str) -> tuple[str]:
    """Keep a number as it is written: engines refuse a Go integer written as 1e1."""
    return (text,)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a duplicate name in one object")
    return found


def _is_size(value: object) -> bool:
    # A string or a long number could hold data that only the image's owner knows.
    return isinstance(value, tuple) and _BYTES.fullmatch(value[0]) is not None


def _time(value: str) -> str | None:
    """Return the time as Go writes it: no trailing zeros in the fraction, and Z for UTC."""
    match = _TIME.fullmatch(value)
    if match is None:
        return value
    fraction = (match[2] or "").rstrip("0")
    zone = "Z" if match[3] == "+00:00" else match[3]
    value = match[1] + (f".{fraction}" if fraction else "") + zone
    return None if value == _NO_TIME else value


def _without_empty(value: Any, is_map: bool) -> Any:
    if isinstance(value, list):
        return [_without_empty(item, False) for item in value]
    if not isinstance(value, dict):
        return value
    members = {name: _without_empty(item, name in _MAPS) for name, item in value.items()}
    if is_map:
        return {name: None if _is_empty(item) else item for name, item in members.items()}
    return {name: item for name, item in members.items() if not _is_empty(item)}


def _is_empty(value: object) -> bool:
    return not value or value == _ZERO
