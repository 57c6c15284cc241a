"""Fixtures that many tests share. A server takes about a second to start."""

from __future__ import annotations

import os
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


# The files that take longest start first, so that no process is left with one of them at the end.
_FIRST = [
    "test_object_stores",
    "test_nodes_s3",
    "test_endpoints_delivery",
    "test_endpoints_images",
    "test_contract",
    "test_processes",
    "test_deletions",
    "test_counts",
    "test_revoked",
    "test_accel_store",
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
    """Order the files of tests: each of several pytest processes takes the next one."""
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(_FIRST)}
        items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


# `make coverage` measures the tests themselves, and the servers and commands that these files start.
# To measure every server would double the CPU time of the tests.
_MEASURED = (
    "cache/test_shared",
    "commands/",
    "index/test_deletions",
    "index/test_server",
    "protocol/test_endpoints_",
    "protocol/test_old_names",
    "protocol/v2/test_login",
    "protocol/v2/test_pull",
    "rights/test_accounts",
    "server/test_connection_limits",
    "server/test_receive",
    "server/test_send",
    "server/test_worker",
    "transfer/test_bundle",
    "transfer/test_migrate",
    "transfer/test_oci",
    "web/",
)


@pytest.fixture(scope="module", autouse=True)
def _limit_coverage(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hide the variable with which coverage starts in new processes, except for some files."""
    config = os.environ.get("COVERAGE_PROCESS_CONFIG")
    file = str(request.path.relative_to(Path(__file__).parent))
    if config is None or file.startswith(_MEASURED):
        yield
        return
    del os.environ["COVERAGE_PROCESS_CONFIG"]
    yield
    os.environ["COVERAGE_PROCESS_CONFIG"] = config


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of an empty store, not yet created."""
    return tmp_path / "store"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server, shared by a module, whose tests use different names (see `own_server`)."""
    with Server(tmp_path_factory.mktemp("server") / "store") as running:
        yield running


@pytest.fixture
def own_server(store: Path) -> Iterator[Server]:
    """A real server on `store`, for a single test."""
    with Server(store) as running:
        yield running


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """An S3 server for all tests; each test uses its own `storage_path` or bucket."""
    require("ceph")
    from tests.backends.ceph import Ceph
    from tests.tls import make_certificate

    folder = tmp_path_factory.mktemp("ceph")
    with Ceph(folder / "ceph", make_certificate(folder / "tls")) as running:
        yield running


@pytest.fixture(scope="session")
def example_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the installed package of tests/storage/example, for `sys.path`."""
    folder = tmp_path_factory.mktemp("installed")
    quietly = ("-q", "--no-index", "--no-deps", "--no-build-isolation")
    source = Path(__file__).parent / "storage" / "example"
    command = [sys.executable, "-m", "pip", "install", *quietly, "--target", folder, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """An OpenStack Swift for all tests; each test uses its own `storage_path` or container."""
    require("swift")
    from tests.backends.swift import Swift

    with Swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for all tests; each test uses its own database."""
    require("postgres")
    from tests.backends.postgres import Postgres

    with Postgres() as running:
        yield running


@pytest.fixture(scope="session")
def gcs_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A mock of Google Cloud Storage for all tests; each test uses its own `storage_path`."""
    from tests.backends.gcs import Emulator

    with Emulator(tmp_path_factory.mktemp("gcs")) as running:
        yield running


@pytest.fixture(scope="module")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGcs]:
    """A fake of Google Cloud Storage, shared by a module; a test must undo its changes."""
    from tests.backends.fakegcs import FakeGcs

    with FakeGcs(tmp_path_factory.mktemp("fake-gcs")) as running:
        yield running


@pytest.fixture(scope="session")
def fake_gcs_xml(ceph: Ceph) -> Iterator[FakeGcsXml]:
    """A fake of its XML API, in front of Ceph; each test uses its own `storage_path`."""
    from tests.backends.fakegcsxml import FakeGcsXml

    with FakeGcsXml(ceph) as running:
        yield running


@pytest.fixture(scope="session")
def glance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """An OpenStack Glance for all tests; each test uses its own account."""
    require("glance")
    from tests.backends.glance import Glance

    with Glance(tmp_path_factory.mktemp("glance")) as running:
        yield running


@pytest.fixture(scope="session")
def old_glance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """An older OpenStack Glance, shared in the same way."""
    require("glance-25")
    from tests.backends.glance import OldGlance

    with OldGlance(tmp_path_factory.mktemp("old-glance")) as running:
        yield running
