"""The cache of a process: limited in bytes, drops the oldest first, with a lifetime."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v1registry.lib.support import cache as module
from v1registry.lib.support.cache import Cache


def test_least_recently_used_goes_first() -> None:
    cache: Cache[bytes] = Cache(10, 60, len)
    cache.put("a", b"1234")
    cache.put("b", b"1234")
    assert cache.get("a") == b"1234"
    cache.put("c", b"1234")
    assert cache.get("b") is None
    assert (cache.get("a"), cache.get("c")) == (b"1234", b"1234")


def test_too_large_is_not_kept_and_replaces_nothing_else() -> None:
    cache: Cache[bytes] = Cache(10, 60, len)
    cache.put("a", b"1234")
    cache.put("b", b"x" * 11)
    assert cache.get("b") is None
    assert cache.get("a") == b"1234"


def test_life(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    cache: Cache[bytes] = Cache(10, 60, len)
    cache.put("a", b"1")
    now[0] = 159.0
    assert cache.get("a") == b"1"
    now[0] = 161.0
    assert cache.get("a") is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 12)), max_size=60))
def test_never_over_the_limit(puts: list[tuple[str, int]]) -> None:
    cache: Cache[bytes] = Cache(20, 60, len)
    for key, size in puts:
        cache.put(key, b"x" * size)
        held = [cache.get(name) for name in "abcdef"]
        assert sum(len(value) for value in held if value is not None) <= 20
        assert cache._used == sum(len(value) for value in held if value is not None)
