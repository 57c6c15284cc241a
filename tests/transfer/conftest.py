"""A real v2 registry for the tests of transfers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends.v2registry import V2Registry
from tests.needs import require


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[V2Registry]:
    """Yield one registry for all tests. Each test uses its own repositories."""
    require("v2-registry")
    with V2Registry(tmp_path_factory.mktemp("go")) as running:
        yield running
