"""Redis servers for tests. The paths of their sockets must be short."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import require
from tests.redisserver import Redis


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """A Redis for a module. A test that stops it must start it again."""
    require("redis")
    with tempfile.TemporaryDirectory(prefix="v1r-") as folder, Redis(Path(folder)) as running:
        yield running
