"""Fixtures that many tests share; kept light, since a server costs about a second."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live_server import Server
from tests.needs import require

if TYPE_CHECKING:
    from tests.backends.ceph import Ceph
    from tests.backends.fakegcs import FakeGcs
    from tests.backends.fakegcsxml import FakeGcsXml
    from tests.backends.gcs import Emulator
    from tests.backends.glance import Glance
    from tests.backends.postgres import Postgres
    from tests.backends.swift import Swift


# What takes longest, begun first: so that no process works on alone at the end.
_FIRST = [
    "test_object_stores",
    "test_nodes_s3",
    "test_endpoints_delivery",
    "test_endpoints_images",
    "test_contract",
    "test_processes",
    "test_damaged",
    "test_glance_driver",
    "test_cut",
    "test_swift_driver",
    "test_server",
    "test_nodes_bounds",
    "test_index",
    "test_worker",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several processes, each takes the next file in this order."""
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(_FIRST)}
        items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of an empty store, not made yet."""
    return tmp_path / "store"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server, one for a module: its tests use names of their own (see `own_server`)."""
    with Server(tmp_path_factory.mktemp("server") / "store") as running:
        yield running


@pytest.fixture
def own_server(store: Path) -> Iterator[Server]:
    """A real server for one test alone, on `store`."""
    with Server(store) as running:
        yield running


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """An S3 server, one for all tests: each uses a `storage_path` or a bucket of its own."""
    require("ceph")
    from tests.backends.ceph import Ceph
    from tests.tls import make_certificate

    folder = tmp_path_factory.mktemp("ceph")
    with Ceph(folder / "ceph", make_certificate(folder / "tls")) as running:
        yield running


@pytest.fixture(scope="session")
def example_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where the package of tests/storage/example is installed, for `sys.path`."""
    folder = tmp_path_factory.mktemp("installed")
    quietly = ("-q", "--no-index", "--no-deps", "--no-build-isolation")
    source = Path(__file__).parent / "storage" / "example"
    command = [sys.executable, "-m", "pip", "install", *quietly, "--target", folder, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """An OpenStack Swift, one for all tests: each uses a `storage_path` or a container of its own."""
    require("swift")
    from tests.backends.swift import Swift

    with Swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL, one for all tests: each uses a database of its own."""
    require("postgres")
    from tests.backends.postgres import Postgres

    with Postgres() as running:
        yield running


@pytest.fixture(scope="session")
def gcs_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A mock of Google Cloud Storage, one for all tests: each uses a `storage_path` of its own."""
    from tests.backends.gcs import Emulator

    with Emulator(tmp_path_factory.mktemp("gcs")) as running:
        yield running


@pytest.fixture(scope="module")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGcs]:
    """A fake of Google Cloud Storage, one for a module; put back what you change."""
    from tests.backends.fakegcs import FakeGcs

    with FakeGcs(tmp_path_factory.mktemp("fake-gcs")) as running:
        yield running


@pytest.fixture(scope="session")
def fake_gcs_xml(ceph: Ceph) -> Iterator[FakeGcsXml]:
    """A fake of its other API, in front of Ceph; each test uses a `storage_path` of its own."""
    from tests.backends.fakegcsxml import FakeGcsXml

    with FakeGcsXml(ceph) as running:
        yield running


@pytest.fixture(scope="session")
def glance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """An OpenStack Glance, one for all tests: each uses an account of its own."""
    require("glance")
    from tests.backends.glance import Glance

    with Glance(tmp_path_factory.mktemp("glance")) as running:
        yield running


@pytest.fixture(scope="session")
def old_glance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """An older one; likewise."""
    require("glance-25")
    from tests.backends.glance import OldGlance

    with OldGlance(tmp_path_factory.mktemp("old-glance")) as running:
        yield running
