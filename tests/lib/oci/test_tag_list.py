"""The tags of one page: their order, facts about their images, and the limits of the work."""

from __future__ import annotations

import json
from typing import Any

from tests.lib import v2
from tests.lib.v2 import REPOSITORY, A, B, C, Node
from v1registry.lib.images.images import Images
from v1registry.lib.names import RepositoryName
from v1registry.lib.oci.tag_list import TagList, TagPage
from v1registry.storage import Storage, keys


def listing(node: Node, *, digests: bool = True) -> TagList:
    repositories = node.domain.repositories
    return TagList(
        repositories,
        node.domain.tags,
        node.domain.images,
        node.blobs,
        node.v2images,
        with_digests=digests,
    )


def page(node: Node, text: str = "", number: int = 1, size: int = 10, **more: Any) -> TagPage:
    found = listing(node, **more).page(REPOSITORY, text, number, size, seconds=60)
    assert found is not None
    return found


def set_json(storage: Storage, id: str, **members: Any) -> None:
    key = keys.image(id, "json")
    storage.put(key, json.dumps({**json.loads(storage.get(key)), **members}).encode())


def test_the_order_is_that_of_versions() -> None:
    storage = v2.chain_store()
    for name in ("1.9", "1.10", "latest", "nightly", "1.10-rc1", "2"):
        v2.tag(storage, A, name=name)
    node = Node(storage)
    wanted = ["latest", "2", "1.10-rc1", "1.10", "1.9", "1", "nightly"]
    assert [row.name for row in page(node).rows] == wanted
    assert [row.name for row in page(node, number=2, size=3).rows] == wanted[3:6]
    assert [row.name for row in page(node, text="RC").rows] == ["1.10-rc1"]
    assert page(node, text="1.", size=1).total == 3
    assert page(node, text="none") == TagPage([], 0)
    absent = RepositoryName.parse("team/absent")
    assert listing(node).page(absent, "", 1, 10, seconds=60) is None


def test_facts_about_an_image() -> None:
    storage = v2.chain_store()
    set_json(storage, C, created="2015-01-08T11:20:00.123456789Z", os="linux", architecture="arm")
    metadata = {"last_update": 1420713600, "docker_version": "1.6.2"}
    key = f"{REPOSITORY.folder}/{keys.tag_metadata('1')}"
    storage.put(key, json.dumps(metadata).encode())
    node = Node(storage)
    [row] = page(node).rows
    assert (row.name, row.image_id, row.pushed, row.is_late) == ("1", C, 1420713600, False)
    assert row.facts is not None
    sizes = [storage.stat(keys.image(id, "layer")).size for id in (A, B, C)]
    assert (row.facts.size, row.facts.layers) == (sum(sizes), 3)
    assert (row.facts.created, row.facts.platform) == (1420716000.123456, "linux/arm")
    assert (
        row.facts.digest is None
    )  # no client has asked for the layers yet, and no page reads them
    node = Node(v2.chain_store())
    shown = node.get(C)
    [row] = page(node).rows
    assert row.facts is not None
    assert row.facts.digest in {manifest.digest for manifest in shown.manifests.values()}
    [row] = page(node, digests=False).rows
    assert row.facts is not None
    assert row.facts.digest is None


def test_what_cannot_be_read_is_missing_on_the_page_alone() -> None:
    storage = v2.chain_store()
    v2.tag(storage, "f" * 64, name="gone")
    set_json(storage, B, created=12, os=["x"], architecture=None)
    v2.tag(storage, B, name="odd")
    storage.delete(keys.image(A, "layer"))
    key = f"{REPOSITORY.folder}/{keys.tag_metadata('odd')}"
    storage.put(key, b'{"last_update": "yesterday"}')
    rows = {row.name: row for row in page(Node(storage)).rows}
    assert rows["gone"].facts is None
    facts = rows["odd"].facts
    assert facts is not None
    assert (facts.created, facts.size, rows["odd"].pushed) == (None, None, None)
    assert len(facts.platform) < 100


def test_no_image_is_read_after_the_time(monkeypatch: Any) -> None:
    node = Node(v2.chain_store())
    reads = []
    find = Images.find
    monkeypatch.setattr(Images, "find", lambda self, id: reads.append(id) or find(self, id))
    tags = listing(node, digests=False)
    [row] = tags.page(REPOSITORY, "", 1, 10, seconds=-1).rows
    assert (row.facts, row.is_late, reads) == (None, True, [])
    [row] = tags.page(REPOSITORY, "", 1, 10, seconds=60).rows
    assert (row.is_late, len(reads)) == (False, 4)
    [row] = tags.page(REPOSITORY, "", 1, 10, seconds=-1).rows
    assert row.facts is not None  # remembered
    assert len(reads) == 4


def test_no_large_json_is_parsed() -> None:
    """Engines write some kB. Other clients may send up to `limits.json`."""
    storage = v2.chain_store()
    set_json(storage, C, created="2015-01-08T11:20:00Z", comment="c" * 600_000)
    [row] = page(Node(storage)).rows
    assert row.facts is not None
    assert (row.facts.created, row.facts.platform, row.facts.layers) == (None, "", 3)
    assert row.facts.size
