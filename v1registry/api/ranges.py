"""The Range header, as engines send it to resume (protocol-v1.md sections 2 and 7.2; RFC 9110 14.2)."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")
_LAST = re.compile(r"bytes=-([0-9]+)")
_DIGITS = 18  # numbers with more digits are larger than any size


class Unsatisfiable(Exception):
    """The range begins after the last byte."""


def parse(header: str | None, size: int, *, suffix: bool = False) -> tuple[int, int] | None:
    """Return (start, stop) with `start <= i < stop <= size`, or None to send all bytes.

    Malformed and multiple ranges are ignored, as docker-registry 0.x does. Ranges of the last
    bytes are ignored unless `suffix`. `stop` is cut to `size`: engines request one byte too many.
    """
    if suffix and header and size and (match := _LAST.fullmatch(header.strip())):
        count = min(_number(match[1]), size)
        if count == 0:
            raise Unsatisfiable
        return size - count, size
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or size == 0:
        return None
    start = _number(match[1])
    last = _number(match[2]) if match[2] else size - 1
    if match[2] and last < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, min(last + 1, size)


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS
