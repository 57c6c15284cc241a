"""A fake index over HTTP, and a client for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.rights.fakeindex import FakeIndex
from v1registry.auth.external_index_client import IndexClient


def call(_seconds: float, function: Callable[[], Any]) -> Any:
    """Run the function; the client's own timeouts are enough here."""
    return function()


@pytest.fixture
def index() -> Iterator[FakeIndex]:
    with FakeIndex() as running:
        yield running


@pytest.fixture
def client(index: FakeIndex) -> IndexClient:
    return IndexClient(index.url, ca=None, timeout=2, limit=10_000, within=call)
