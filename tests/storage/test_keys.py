"""Keys are those of docker-registry 0.9.1 (protocol-v1.md section 4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v1registry.storage import keys


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "plain"),
        ("a.b_c-d", "a.b_c-d"),
        ("two words", "two+words"),
        ("a/b", "a%2Fb"),
        ("til~de", "til%7Ede"),
        ("ü", "%C3%BC"),
        (".", "%252E"),
        ("..", "%252E%252E"),
    ],
)
def test_encode(name: str, expected: str) -> None:
    assert keys.encode(name) == expected


def test_repositories() -> None:
    assert keys.repository("library", "busybox") == "repositories/library/busybox"
    assert keys.repository("a", "b/c") == "repositories/a/b%252Fc"
    assert keys.repository_before_081("a", "b/c") == "repositories/a/b%2Fc"
    assert keys.repository("a", "..") == "repositories/a/%252E%252E"
    assert keys.repository_name("b%252Fc") == keys.repository_name("b%2Fc") == "b/c"


def test_tags() -> None:
    assert keys.tag("latest") == "tag_latest"
    assert keys.tag_metadata("latest") == "taglatest_json"
    # the two that 0.x confuses (section 8 item 4)
    assert keys.tag("x_json") == keys.tag_metadata("_x")


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1))
def test_no_name_leaves_its_folder(name: str) -> None:
    encoded = keys.encode(name)
    assert "/" not in encoded
    assert encoded not in (".", "..")
    assert encoded.isascii()
    assert encoded.isprintable()
    if name not in (".", ".."):
        assert keys.decode(encoded) == name
