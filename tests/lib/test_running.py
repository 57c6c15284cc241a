"""Long computations do not block other clients."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v1registry.lib import running
from v1registry.lib.running import collector_off, for_size, in_place, sorted_in_steps


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    assert gc.isenabled()
    yield
    assert gc.isenabled()


def test_only_large_data_goes_to_the_thread_pool() -> None:
    assert for_size(print, 64 * 1024) is in_place
    assert for_size(print, 64 * 1024 + 1) is print
    assert in_place(divmod, 7, 2) == (3, 1)


@given(st.lists(st.integers(0, 30)), st.integers(1, 5))
def test_sorting_in_steps_is_stable_sorting(values: list[int], step: int) -> None:
    pairs = list(enumerate(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "_SORTED_AT_ONCE", step)
        assert sorted_in_steps(values) == sorted(values)
        assert sorted_in_steps(pairs, lambda pair: pair[1]) == sorted(pairs, key=lambda p: p[1])


def test_the_collector_is_on_again_after_an_error_and_after_threads() -> None:
    with pytest.raises(ValueError, match="x"), collector_off():
        assert not gc.isenabled()
        raise ValueError("x")
    assert gc.isenabled()
    both = threading.Barrier(2, timeout=10)

    def work() -> None:
        for _ in range(100):
            with collector_off():
                both.wait()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
