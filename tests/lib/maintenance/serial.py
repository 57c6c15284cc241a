"""A pool that runs everything at once, in the caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any


class Serial(Executor):
    """Implements what the collector uses of an Executor."""

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **_: Any) -> Iterator[Any]:
        return iter([fn(value) for value in list(*iterables)])
