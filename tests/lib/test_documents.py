"""Parsing any JSON safely, and writing JSON in the form of 0.x (protocol-v1.md section 1)."""

from __future__ import annotations

import json
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v1registry.lib import documents
from v1registry.lib.errors import DATA_INVALID, Failure

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_dumped_values_are_parsed(value: object) -> None:
    data = documents.dump(value)
    assert data.isascii()
    assert b"\n" not in data
    assert documents.parse(data) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_clear_failure(data: bytes) -> None:
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
    listed = {"repositories": [{"name": "a", "tags": named}, {"name": "b", "tags": {}}, None]}
    mixed = [*rows, named, 1, rows, {"a": [named, 2]}, *rows]
    for value in (
        *(rows, named, {"z": rows, "a": named, "m": None}, [rows, named], {"": {}}),
        *(listed, mixed, {"x": mixed, "a": 1}, [[[named]]]),
    ):
        assert documents.is_large(listed) == (count > 330)
        assert documents.dump(value) == json.dumps(value, sort_keys=True).encode()


@given(VALUES, st.booleans())
def test_text_that_a_database_cannot_store_is_refused(value: object, escaped: bool) -> None:
    data = json.dumps(value, ensure_ascii=escaped).encode()
    if "\0" in json.dumps(value, ensure_ascii=False).replace("\\\\", "").replace("\\u0000", "\0"):
        with pytest.raises(Failure, match="NUL"):
            documents.parse_text(data)
    else:
        assert documents.parse_text(data) == value


@given(st.text(st.sampled_from(["\\", "u", "d", "8", "0", "c", "\ud83d", "\udc33", "\0", "\n"])))
def test_text_with_backslashes_and_surrogates(text: str) -> None:
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


# ---- numbers, and very many values

BEYOND = ["1e400", "-1e400", "1" * 400, "-" + "1" * 4000, "1" * 5000, "1e99999"]


@pytest.mark.parametrize("number", [*BEYOND, "NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_cannot_contain(number: str) -> None:
    """Such numbers would be written as Infinity, which clients refuse, or exceed a client's double."""
    data = b'[{"x": %s}]' % number.encode()
    with pytest.raises(Failure, match="Invalid data"):
        documents.parse(data, DATA_INVALID)
    assert documents.load(data) == [{"x": None}]  # 0.x may have stored it
    with pytest.raises(ValueError, match="Out of range float"):
        documents.dump([float("inf")])


@pytest.mark.parametrize("number", [*BEYOND[:4], BEYOND[5]])
def test_an_opaque_document_may_contain_larger_numbers(number: str) -> None:
    assert documents.parse(b'{"x": %s}' % number.encode(), opaque=True) == {"x": 0}
    assert documents.parse(b'{"id": 17}', opaque=True) == {"id": 0}  # never read as a text


@pytest.mark.parametrize("number", ["1e308", "-1e308", "1" * 308, "9" * 308, "1e-400", "0", "-0.5"])
def test_numbers_of_any_ordinary_size(number: str) -> None:
    value = documents.parse(number.encode())
    assert value == json.loads(number)
    assert documents.load(number.encode()) == value


@settings(deadline=None, max_examples=20)
@given(st.lists(VALUES, min_size=1, max_size=5))
def test_many_values_are_parsed_like_few(values: list[object]) -> None:
    data = json.dumps([values, [[1, {}]] * 21_000]).encode()
    assert documents.parse(data) == documents.load(data) == json.loads(data)


def test_very_many_values_are_refused() -> None:
    for one in (b"[],", b'"",', b"1,", b"{},"):
        data = b"[" + one * 500_001 + b"0]"
        with pytest.raises(Failure, match="Invalid JSON"):
            documents.parse(data)
    text = json.dumps(["[[,{" * 500_000, '\\"[', "\n"]).encode()
    assert documents.parse(text) == json.loads(text)  # no values, but a text


def test_a_large_value_is_written_in_steps_wherever_it_is() -> None:
    """Writing it without a pause would stop all other threads."""
    tags = {f"t{number}": "a" * 64 for number in range(300_000)}
    worker = threading.Thread(target=documents.dump, args=({"a": [{"tags": tags}]},))
    turns = 0
    worker.start()
    while worker.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns > 10  # one or two in one go


def test_a_string_without_an_end_is_refused_quickly() -> None:
    """Each escaped quote could look like the start of another string."""
    data = b"[" + b"," * 20_001 + b'"' + b'\\"' * 20_000
    before = time.process_time()
    with pytest.raises(Failure, match="Invalid JSON"):
        documents.parse(data)
    assert time.process_time() - before < 0.5  # it took 3 s, and days for 4 MiB


def test_a_thread_that_parses_lets_others_run() -> None:
    """The parser in C would stop them until it ends."""
    data = b"[" + b'{"a": "b"},' * 240_000 + b"0]"
    worker = threading.Thread(target=documents.parse, args=(data,))
    turns = 0
    worker.start()
    while worker.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns > 10  # some three with the parser in C


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{}", []),
        (
            ' { "a" : { } , "b":{"x":[1, 2],"y":{"z":null}} } ',
            [("b", "x", [1, 2]), ("b", "y", {"z": None})],
        ),
        ('{"a": {"\\u0041": 1}, "c": {"x": 2}}', [("a", "A", 1), ("c", "x", 2)]),
    ],
)
def test_grouped_members(text: str, found: list[tuple[str, str, object]]) -> None:
    assert list(documents.grouped_members(text.encode())) == found


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a"', '{"a": 1}', '{"a": {}', '{"a": {"x" 1}}', '{"a": {"x": 1} "b": {}}', "{} {}", '{"a": {"x": NaN}}'],
)  # fmt: skip
def test_grouped_members_of_other_texts(text: str) -> None:
    with pytest.raises(ValueError):
        list(documents.grouped_members(text.encode()))
