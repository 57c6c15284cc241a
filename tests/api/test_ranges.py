"""The byte ranges of protocol-v1.md sections 2 and 7.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v1registry.api.ranges import Unsatisfiable, parse


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        (None, 20, None),
        ("", 20, None),
        ("bytes=0-4", 20, (0, 5)),
        ("bytes=5-20", 20, (5, 20)),
        ("bytes=5-", 20, (5, 20)),
        ("bytes=5-99999", 20, (5, 20)),
        ("bytes=19-19", 20, (19, 20)),
        ("bytes=0-0", 20, (0, 1)),
        (" bytes=0-0 ", 20, (0, 1)),
        ("bytes=0-" + "9" * 5000, 20, (0, 20)),
        ("bytes=-5", 20, None),
        ("bytes=5-4", 20, None),
        ("bytes=0-1,3-4", 20, None),
        ("bytes=a-b", 20, None),
        ("bytes 0-1", 20, None),
        ("bytes=0-1x", 20, None),
        ("bytes=+0-1", 20, None),
        ("bytes=\u0661-2", 20, None),
        ("items=0-1", 20, None),
        ("bytes=0-5", 0, None),
        ("bytes=0-", 0, None),
    ],
)
def test_parse(header: str | None, size: int, expected: tuple[int, int] | None) -> None:
    assert parse(header, size) == expected


@pytest.mark.parametrize(
    "header", ["bytes=20-20", "bytes=20-", "bytes=99-100", f"bytes={'9' * 50}-"]
)
def test_past_the_end(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse(header, 20)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=-5", (15, 20)),
        ("bytes=-20", (0, 20)),
        ("bytes=-99999999999999999999999999", (0, 20)),
        ("bytes=-", None),
        ("bytes=--5", None),
        ("bytes=5-", (5, 20)),
    ],
)
def test_ranges_of_the_last_bytes(header: str, wanted: tuple[int, int] | None) -> None:
    assert parse(header, 20, suffix=True) == wanted


def test_a_range_of_the_last_zero_bytes() -> None:
    with pytest.raises(Unsatisfiable):
        parse("bytes=-0", 20, suffix=True)
    assert parse("bytes=-0", 0, suffix=True) is None


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 50))
def test_every_range_is_within_the_layer(first: int, last: int, size: int) -> None:
    try:
        wanted = parse(f"bytes={first}-{last}", size)
    except Unsatisfiable:
        assert first >= size
        return
    data = bytes(range(size))
    if last < first:
        assert wanted is None
    else:
        assert wanted is not None
        assert data[slice(*wanted)] == data[first : last + 1] != b""


@given(st.text(max_size=40))
def test_never_fails_otherwise(header: str) -> None:
    try:
        wanted = parse(header, 10)
    except Unsatisfiable:
        return
    assert wanted is None or 0 <= wanted[0] < wanted[1] <= 10
