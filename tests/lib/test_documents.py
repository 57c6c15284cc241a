"""JSON in: anything, safely. JSON out: as 0.x wrote it (protocol-v1.md section 1)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v1registry.lib import documents
from v1registry.lib.errors import DATA_INVALID, Failure

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_what_is_dumped_is_parsed(value: object) -> None:
    data = documents.dump(value)
    assert data.isascii()
    assert b"\n" not in data
    assert documents.parse(data) == value


@given(st.binary(max_size=200))
def test_anything_is_json_or_a_clear_failure(data: bytes) -> None:
    value, refused = None, None
    try:
        value = documents.parse(data)
    except Failure as failure:
        refused = failure
    if refused is None:
        assert value == json.loads(data.decode("utf-8"))
        return
    assert (refused.status, refused.text) == (400, "Invalid JSON")
    with pytest.raises(Failure) as caught:
        documents.parse(data, DATA_INVALID)
    assert caught.value.text == "Invalid data"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b"9" * 100_000,
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'{"a": 1} x',
        b"{'a': 1}",
        b'"\xff"',
    ],
)
def test_not_json(data: bytes) -> None:
    with pytest.raises(Failure):
        documents.parse(data)


def test_the_form_of_0x() -> None:
    assert documents.dump({"b": [1, "x"], "a": None}) == b'{"a": null, "b": [1, "x"]}'
    assert documents.dump("\u00fc") == b'"\\u00fc"'


@given(st.lists(VALUES, max_size=30), st.sampled_from([None, 1, "\n"]))
def test_the_elements_of_an_array_are_those_that_a_parser_finds(
    values: list[object], indent: int | str | None
) -> None:
    data = json.dumps(values, indent=indent).encode()
    assert list(documents.elements(b" " + data + b"\n")) == values


@given(st.text(alphabet='[]{},:" 1a\\', max_size=12))
def test_elements_of_anything_else_are_refused(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    if isinstance(expected, list):
        assert list(documents.elements(text.encode())) == expected
    else:
        with pytest.raises(ValueError):
            list(documents.elements(text.encode()))


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000, 2500])
def test_large_values_look_like_small_ones(count: int) -> None:
    rows = [[f"n{number}", number, "\u00e9"] for number in range(count)]
    named = {f"n{number:x}": {"b": 1, "a": [number]} for number in range(count)}
    for value in (rows, named, {"z": rows, "a": named, "m": None}, [rows, named], {"": {}}):
        assert documents.dump(value) == json.dumps(value, sort_keys=True).encode()


@given(VALUES, st.booleans())
def test_text_is_what_a_database_keeps(value: object, escaped: bool) -> None:
    data = json.dumps(value, ensure_ascii=escaped).encode()
    if "\0" in json.dumps(value, ensure_ascii=False).replace("\\\\", "").replace("\\u0000", "\0"):
        with pytest.raises(Failure, match="NUL"):
            documents.parse_text(data)
    else:
        assert documents.parse_text(data) == value


@given(st.text(st.sampled_from(["\\", "u", "d", "8", "0", "c", "\ud83d", "\udc33", "\0", "\n"])))
def test_text_of_backslashes_and_halves_of_characters(text: str) -> None:
    data = json.dumps({text: [text]}).encode()
    try:
        expected = json.loads(data)
        json.dumps(expected, ensure_ascii=False).encode()
        is_text = "\0" not in text
    except UnicodeEncodeError:
        is_text = False
    if is_text:
        assert documents.parse_text(data) == expected
    else:
        with pytest.raises(Failure, match="lone surrogates"):
            documents.parse_text(data)
