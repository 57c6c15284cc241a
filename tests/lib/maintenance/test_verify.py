"""`verify`: it finds all damage and invents none, repairs only what is safe, and can be interrupted."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.backends.ceph import Ceph
from tests.lib.maintenance.corruptions import LASTING, REPAIRED, Expected, Family
from tests.lib.v2 import Node
from tests.oldregistry import OldRegistry
from tests.protocol import seed
from v1registry.lib.images.cleaner import Cleaner
from v1registry.lib.maintenance.findings import CODES, Finding
from v1registry.lib.maintenance.repair import REPAIRED as REPAIRED_CODES
from v1registry.lib.maintenance.repair import Repairs
from v1registry.lib.maintenance.store_checks import StoreChecks
from v1registry.lib.maintenance.verify import Verification, VerifyJournal
from v1registry.storage import Storage, keys
from v1registry.storage.local.driver import FileStorage
from v1registry.storage.s3.driver import S3Storage

DOCS = Path(__file__).parents[3] / "docs" / "maintenance.md"
SOON = 60.0  # seconds


class World:
    """A store with families of images, and runs of `verify` on it."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.node = Node(storage)
        self.cleaner = Cleaner(storage, self.node.domain.commits)
        self.stop_after: int | None = None

    def families(self, names: Iterator[str] | list[str]) -> list[Family]:
        """Push the images of some families, and let their pushes be over."""
        families = [Family(self.node, name.replace("_", "-")) for name in names]
        for family in families:
            family.push()
        self.cleaner.clean(time.time() + SOON)
        # A backfill has run: so 0.9.1's images must have references.
        self.storage.put(f"{keys.OURS}/facts/reach", b"true")
        return families

    def plant(self, plants: dict[str, Any]) -> Expected:
        families = self.families(list(plants))
        found: Expected = set()
        for plant, family in zip(plants.values(), families, strict=True):
            found |= plant(family)
        return found

    def run(
        self, *, deep: bool = True, glob: str | None = None, journal: VerifyJournal | None = None
    ) -> tuple[Verification, StoreChecks]:
        checks = StoreChecks(
            self.storage,
            self.node.domain.tags,
            glob=glob,
            deep=deep,
            before=time.time() + SOON,
            max_bytes=10_000_000,
        )
        journal = journal or VerifyJournal(None)
        cursor = journal.load({"deep": deep, "repositories": glob})
        with ThreadPoolExecutor(3) as pool:
            run = Verification(
                checks.phases(),
                journal,
                cursor,
                pool,
                3,
                self.progress,
                checks.look_again,
                save_every=0,
            )
            run.run()
        return run, checks

    def progress(self, what: str, done: int, total: int | None, size: int = 0) -> None:
        if self.stop_after is not None:
            self.stop_after -= 1
            if self.stop_after == 0:
                raise KeyboardInterrupt

    def verify(self, **options: Any) -> list[Finding]:
        return [row.finding for row in self.run(**options)[0].rows()]

    def repair(self) -> list[Finding]:
        """Verify and repair; return what remains."""
        run, checks = self.run()
        node = self.node
        repairs = Repairs(
            self.storage,
            node.domain.images,
            node.domain.commits,
            node.domain.tags,
            node.domain.reach,
            node.blobs,
            self.cleaner,
            checks.parents,
            -SOON,
        )
        return [row.finding for row in run.repair(repairs.repair)]


@pytest.fixture
def local(tmp_path: Path) -> World:
    return World(FileStorage(tmp_path / "store"))


def places(findings: list[Finding]) -> list[tuple[str, str]]:
    return sorted((finding.code, finding.object) for finding in findings)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- what is found, and what is repaired -----------------------------------------------------


def find_and_repair_all(world: World) -> None:
    lasting = world.plant(LASTING)
    fixable = world.plant(REPAIRED)
    found = world.verify()
    assert places(found) == sorted(lasting | fixable)
    assert {finding.code for finding in found} == set(CODES)
    assert places(world.repair()) == sorted(lasting)
    again = world.verify()
    assert places(again) == sorted(lasting)
    assert not [finding for finding in again if finding.fixable]


def test_every_corruption_on_local_files(local: World) -> None:
    find_and_repair_all(local)


def test_every_corruption_on_s3(ceph: Ceph) -> None:
    find_and_repair_all(World(S3Storage(ceph.options(storage_path=f"/{secrets.token_hex(8)}"))))


def test_repaired_stores_are_sound_for_0x(local: World, tmp_path: Path) -> None:
    local.plant(REPAIRED)
    assert local.repair() == []
    assert OldRegistry(tmp_path / "store").problems() == []
    before = contents(tmp_path / "store")
    assert local.repair() == []
    assert contents(tmp_path / "store") == before


def test_a_sound_store_has_no_finding(local: World, tmp_path: Path) -> None:
    local.families(["one", "two"])
    before = contents(tmp_path / "store")
    assert local.verify() == []
    assert local.verify(deep=False) == []
    assert contents(tmp_path / "store") == before  # it only reads


def test_the_store_of_0x_has_only_the_known_problems(tmp_path: Path) -> None:
    """Two tags of this store point to images that were left out of the fixture."""
    shutil.copytree(seed.GOLDEN, tmp_path / "store")
    found = World(FileStorage(tmp_path / "store")).verify()
    assert places(found) == [
        ("tag-dangling", f"repositories/libtest/{name}/tag_v2") for name in ("d150", "d183")
    ]


def test_damage_that_was_found_before_is_known_without_reading(local: World) -> None:
    (family,) = local.families(["one"])
    family.put(family.top, "layer", b"x" * len(family.get(family.top, "layer")))
    assert local.verify(deep=False) == []
    local.node.blobs.compute(local.node.domain.images.get(family.top))
    assert [finding.code for finding in local.verify(deep=False)] == ["layer-damaged"]


def test_a_json_that_nothing_proves_is_not_restored(local: World) -> None:
    (family,) = local.families(["one"])
    family.put(family.top, "layer", b"x" * len(family.get(family.top, "layer")))
    family.put(family.top, "json", b"{")
    remaining = local.repair()
    assert {finding.code for finding in remaining} == {"json-invalid", "layer-damaged"}
    assert family.get(family.top, "json") == b"{"


def test_hidden_images_are_no_findings(local: World) -> None:
    (family,) = local.families(["one"])
    id = family.old_image("hidden")
    family.put(id, "json", b"")
    assert places(local.verify()) == [("json-invalid", keys.image(id, "json"))]
    local.storage.put(keys.gc_hidden("run"), f"{id}\n".encode())
    assert local.verify() == []
    local.storage.put(keys.gc_keep("run", id), b"")
    assert places(local.verify()) == [("json-invalid", keys.image(id, "json"))]


def test_only_chosen_repositories(local: World) -> None:
    one, two = local.families(["one", "two"])
    for family in (one, two):
        family.put(family.top, "ancestry", b"")
        family.file("tag_2", b"")
    assert places(local.verify(glob="team/deep/o*")) == [
        ("ancestry-invalid", keys.image(one.top, "ancestry")),
        ("tag-unreadable", f"{one.folder}/tag_2"),
    ]


def test_running_pushes_are_no_findings(local: World) -> None:
    (family,) = local.families(["one"])
    id = family.old_image("new")
    family.put(id, "_inprogress", b"true")
    checks = StoreChecks(
        local.storage,
        local.node.domain.tags,
        glob=None,
        deep=True,
        before=time.time() - SOON,
        max_bytes=1,
    )
    images = checks.phases()[0]
    assert id in images.items
    assert images.check(id) == []


# -- interruptions ---------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 4, 9, 13, 17])
def test_a_stopped_run_continues(local: World, stop: int) -> None:
    plants = {name: LASTING[name] for name in ("no_layer", "tag_without_id", "loop")}
    expected = local.plant(plants)
    local.stop_after = stop
    with pytest.raises(KeyboardInterrupt):
        local.run(journal=VerifyJournal(local.storage))
    local.stop_after = None
    cursor = VerifyJournal(local.storage).load({"deep": True, "repositories": None})
    checked_before = sum(cursor.checked.values())
    assert checked_before == stop - 1
    journal = VerifyJournal(local.storage)
    run, _ = local.run(journal=journal)
    assert places([row.finding for row in run.rows()]) == sorted(expected)
    total = sum(len(phase.items) for phase in run.phases.values())
    assert sum(run.cursor.checked.values()) == total  # nothing was checked twice
    journal.delete()
    assert list(local.storage.list(keys.VERIFY)) == []


def test_other_options_begin_a_new_run(local: World) -> None:
    local.plant({"no_layer": LASTING["no_layer"]})
    journal = VerifyJournal(local.storage)
    local.run(journal=journal)
    assert journal.load({"deep": True, "repositories": None}).saved
    assert not journal.load({"deep": False, "repositories": None}).saved
    assert not journal.load({"deep": True, "repositories": "team/*"}).saved


# -- the table -------------------------------------------------------------------------------


def test_the_documented_table_is_complete() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \| (.+?) \| (.*?) \|$", DOCS.read_text(), re.M)
    documented = {code: tuple(cells) for code, *cells in rows}
    assert documented == {
        name: (code.severity, code.meaning, code.repair or "-") for name, code in CODES.items()
    }
    assert {name for name, code in CODES.items() if code.repair} == REPAIRED_CODES
