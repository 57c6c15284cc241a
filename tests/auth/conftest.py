"""A fake index over HTTP, and a client for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.rights.fakeindex import FakeIndex
from v1registry.auth.external_index_client import IndexClient
from v1registry.lib.running import in_place


def call(_seconds: float, function: Callable[[], Any]) -> Any:
    """Run the function; the client's own timeouts are enough here."""
    return function()


@pytest.fixture
def index() -> Iterator[FakeIndex]:
    with FakeIndex() as running:
        yield running


@pytest.fixture
def client(index: FakeIndex) -> IndexClient:
    return make_client(index)


def make_client(
    index: FakeIndex, limit: int = 10_000, run_in_thread: Callable[..., Any] = in_place
) -> IndexClient:
    return IndexClient(
        index.url, ca=None, timeout=2, limit=limit, within=call, run_in_thread=run_in_thread
    )
