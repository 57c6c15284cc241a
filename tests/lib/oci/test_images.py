"""Images as v2 clients see them, and their lookup in a repository."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lib.stores import image_json, layer_of, write_image
from tests.lib.v2 import OTHER, REPOSITORY, A, B, C, D, Node, chain_store, tag
from v1registry.lib.errors import Failure
from v1registry.lib.names import Digest, RepositoryName, Tag
from v1registry.lib.oci.convert import OCI, SCHEMA2, chain_ids
from v1registry.lib.oci.images import UnservableImage, V2Image, V2Images, _convert
from v1registry.lib.oci.lookup import StoredLayerBlob
from v1registry.storage import ListEntry, keys
from v1registry.storage.local.driver import FileStorage
from v1registry.storage.memory import MemoryStorage

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden"
IMAGES = json.loads((GOLDEN / "image-ids.json").read_text())


@pytest.mark.parametrize("golden", IMAGES, ids=lambda image: image["repository"])
def test_golden_images(golden: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "store-0.9.1", tmp_path / "store")
    storage = FileStorage(tmp_path / "store")
    repository = RepositoryName.parse(golden["repository"])
    shown = Node(storage).lookup.tagged(repository, Tag("latest"))
    assert shown.id == golden["v1_id"]
    assert shown.config_digest == golden["image_id"]
    assert shown.notes == ()
    for manifest in shown.manifests.values():
        document = json.loads(manifest.data)
        assert document["config"]["digest"] == golden["image_id"]
        assert document["config"]["size"] == len(shown.config)
        assert manifest.digest == f"sha256:{hashlib.sha256(manifest.data).hexdigest()}"
        for layer, (id, _) in zip(document["layers"], shown.layers, strict=True):
            stored = storage.get(keys.image(id, "layer"))
            assert layer["digest"] == f"sha256:{hashlib.sha256(stored).hexdigest()}"
            assert layer["size"] == len(stored)


def test_the_same_on_every_node() -> None:
    """Also if another version of a compressor wrote the layer, and if metadata was lost."""
    storage = chain_store()
    one = Node(storage).get(C)
    storage.delete_folder("_v1registry")
    for id in (A, B, C):
        storage.delete(keys.image(id, "_oci"))
    assert Node(storage).get(C) == one
    assert Node(chain_store()).get(C) == one


def test_encodings_in_the_manifests() -> None:
    shown = Node(chain_store()).get(C)
    layers = json.loads(shown.manifests[OCI].data)["layers"]
    kinds = [layer["mediaType"].rpartition(".")[2] for layer in layers]
    assert kinds == ["tar", "tar+gzip", "tar"]
    layers = json.loads(shown.manifests[SCHEMA2].data)["layers"]
    kinds = [layer["mediaType"].rpartition("diff.")[2] for layer in layers]
    assert kinds == ["tar", "tar.gzip", "tar"]


def test_a_missing_system_is_completed_and_noted() -> None:
    shown = Node(chain_store()).get(C)
    assert json.loads(shown.config)["os"] == "linux"
    assert "os or architecture" in shown.notes[0]


def test_the_parents_are_used_if_the_ancestry_differs() -> None:
    storage = chain_store()
    storage.put(keys.image(C, "ancestry"), json.dumps([C, A]).encode())
    node = Node(storage)
    shown = node.get(C)
    assert [id for id, _ in shown.layers] == [A, B, C]
    assert not shown.as_ancestry
    assert any("parents in the JSON" in note for note in shown.notes)
    # its layers can be fetched although the ancestry does not contain them
    for other in (node, Node(storage)):
        found = other.lookup.blob(REPOSITORY, Digest(shown.layers[1][1].digest))
        assert isinstance(found, StoredLayerBlob)
        assert found.image.id == B


def test_an_image_without_stored_ancestry() -> None:
    storage = chain_store()
    for id in (A, B, C):
        storage.delete(keys.image(id, "ancestry"))
    assert Node(storage).get(C).as_ancestry


def test_chain_ids_are_checked() -> None:
    """For images that Docker 1.10 and later pushed: bare ancestors whose ids are their chain ids."""
    storage = MemoryStorage()
    layers = [gzip.compress(layer_of(name)) for name in "abc"]
    diff_ids = [f"sha256:{hashlib.sha256(gzip.decompress(layer)).hexdigest()}" for layer in layers]
    ids = [id.removeprefix("sha256:") for id in chain_ids(diff_ids)[:2]] + [C]
    for number, layer in enumerate(layers):
        write_image(storage, ids[number], tuple(ids[:number][::-1]), layer=layer)
    assert Node(storage).get(C).chain_confirmed
    assert not Node(chain_store()).get(C).chain_confirmed
    # a base image alone proves nothing
    assert not Node(storage).get(ids[0]).chain_confirmed
    # an ancestor with more fields is not such an ancestor
    storage.put(keys.image(ids[0], "json"), image_json(ids[0], author="x"))
    storage.delete(keys.image(ids[0], "_checksum"))
    assert not Node(storage).get(C).chain_confirmed


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda s: s.delete(keys.image(A, "json")), f"{A} is missing or not complete"),
        (lambda s: s.put(keys.image(B, "_inprogress"), b"true"), f"{B} is missing or not complete"),
        (lambda s: s.delete(keys.image(B, "layer")), f"{B}: the layer is missing"),
        (lambda s: s.put(keys.image(B, "layer"), b"x" * 1000), f"{B}: the layer cannot be read"),
        (lambda s: s.put(keys.image(A, "json"), image_json(A, C)), "its ancestors form a loop"),
        (lambda s: s.put(keys.image(C, "json"), b'{"parent":"' + B.encode() + b'","os":5}'),
         "os is not a text"),
    ],
)  # fmt: skip
def test_images_that_cannot_be_shown_have_a_reason(damage: Any, reason: str) -> None:
    storage = chain_store()
    damage(storage)
    for id in (A, B, C):
        if not reason.startswith(id):
            storage.delete(keys.image(id, "_checksum"))
    with pytest.raises(UnservableImage, match=reason):
        Node(storage).get(C)


# -- lookup by digest -------------------------------------------------------------


def digests_of(shown: V2Image) -> tuple[list[str], list[str]]:
    """DigestIndex of manifests, and of blobs."""
    manifests = [manifest.digest for manifest in shown.manifests.values()]
    return manifests, [shown.config_digest, *(facts.digest for _, facts in shown.layers)]


@pytest.mark.parametrize("read_only", [False, True])
def test_another_node_finds_all_digests(read_only: bool) -> None:
    storage = chain_store()
    shown = Node(storage, read_only=read_only).get(C)
    other = Node(storage, read_only=read_only)
    for manifest in shown.manifests.values():
        assert other.lookup.manifest(REPOSITORY, Digest(manifest.digest)) == manifest
    assert other.lookup.blob(REPOSITORY, Digest(shown.config_digest)) == shown.config
    for id, facts in shown.layers:
        found = other.lookup.blob(REPOSITORY, Digest(facts.digest))
        assert isinstance(found, StoredLayerBlob)
        assert (found.image.id, found.metadata) == (id, facts)


def test_digests_of_other_repositories_are_unknown() -> None:
    """In a repository that exists, in one that does not, and after the tag is gone."""
    storage = chain_store()
    write_image(storage, D, layer=layer_of("d"))
    tag(storage, D, OTHER)
    node = Node(storage)
    manifests, blobs = digests_of(node.get(C))
    node.get(D)
    for repository in (OTHER, RepositoryName.parse("no/where")):
        for digest in manifests:
            with pytest.raises(Failure) as raised:
                node.lookup.manifest(repository, Digest(digest))
            assert raised.value.status == 404
        for digest in blobs:
            with pytest.raises(Failure) as raised:
                node.lookup.blob(repository, Digest(digest))
            assert raised.value.status == 404
    storage.delete(f"{REPOSITORY.folder}/{keys.tag('1')}")
    with pytest.raises(Failure):
        Node(storage).lookup.blob(REPOSITORY, Digest(blobs[0]))


def test_a_digest_is_looked_for_under_its_own_kind() -> None:
    node = Node(chain_store())
    manifests, blobs = digests_of(node.get(C))
    for digest in manifests:
        with pytest.raises(Failure):
            node.lookup.blob(REPOSITORY, Digest(digest))
    for digest in blobs:
        with pytest.raises(Failure):
            node.lookup.manifest(REPOSITORY, Digest(digest))


def test_one_empty_layer_serves_every_repository() -> None:
    """Thousands of images have this blob, and the digest index has only one of them."""
    storage = MemoryStorage()
    empty = gzip.compress(bytes(1024))
    for id, repository in ((A, REPOSITORY), (B, OTHER)):
        write_image(storage, id, layer=empty)
        tag(storage, id, repository)
    node = Node(storage)
    digest = Digest(node.get(A).layers[0][1].digest)
    assert node.get(B).layers[0][1].digest == digest
    for repository in (REPOSITORY, OTHER):
        assert isinstance(node.lookup.blob(repository, digest), StoredLayerBlob)


def test_two_images_with_one_layer_each_under_its_own_repository() -> None:
    storage = MemoryStorage()
    layer = gzip.compress(layer_of("same"))
    for id, repository in ((A, REPOSITORY), (B, OTHER)):
        write_image(storage, id, layer=layer)
        tag(storage, id, repository)
    node = Node(storage, cache=100_000)
    digest = Digest(node.get(A).layers[0][1].digest)
    assert isinstance(node.lookup.blob(REPOSITORY, digest), StoredLayerBlob)
    node.get(B)  # noted after the entries were cached
    for id, repository in ((A, REPOSITORY), (B, OTHER)):
        found = node.lookup.blob(repository, digest)
        assert isinstance(found, StoredLayerBlob)
        assert found.image.id == id


def test_an_image_written_anew_is_not_found_by_its_old_digests() -> None:
    storage = chain_store()
    manifests, blobs = digests_of(Node(storage).get(C))
    write_image(storage, C, (B, A), layer=layer_of("another"))
    node = Node(storage)
    node.get(C)
    with pytest.raises(Failure):
        node.lookup.manifest(REPOSITORY, Digest(manifests[0]))
    with pytest.raises(Failure):
        node.lookup.blob(REPOSITORY, Digest(blobs[-1]))
    assert isinstance(node.lookup.blob(REPOSITORY, Digest(blobs[1])), StoredLayerBlob)


def test_a_blob_is_found_without_a_walk() -> None:
    """Only one folder of the digest index is listed: no image and no tag is read."""

    class Counting(MemoryStorage):
        listed: list[str]

        def list(self, folder: str) -> Iterator[ListEntry]:
            self.listed.append(folder)
            return super().list(folder)

    storage = Counting()
    storage.listed = []
    storage._objects |= chain_store()._objects
    shown = Node(storage).get(C)
    node = Node(storage).domain
    storage.put_all(node.reach.prepare(REPOSITORY, "1", node.images.get(C)))
    for digest in (shown.config_digest, *(facts.digest for _, facts in shown.layers)):
        node = Node(storage)
        storage.listed.clear()
        node.lookup.blob(REPOSITORY, Digest(digest))
        hex = digest.removeprefix("sha256:")
        assert storage.listed == [f"_v1registry/digests/sha256/{hex[:3]}"]


class CountingImages:
    """Counts conversions, by the calls that would run them in a thread."""

    def __init__(self, storage: MemoryStorage, cache: int) -> None:
        node = Node(storage)
        self.count = 0
        self.v2images = V2Images(
            node.domain.images,
            node.blobs,
            node.digests,
            cache_limit=cache,
            cache_life=60,
            compute=self._counted,
        )

    def _counted(self, function: Any, *arguments: Any) -> Any:
        self.count += function is _convert
        return function(*arguments)


def large_store(**more: Any) -> MemoryStorage:
    storage = MemoryStorage()
    data = write_image(storage, A, (), layer_of("a"))
    document = {**json.loads(data), "comment": "c" * 100_000, **more}
    storage.put(keys.image(A, "json"), json.dumps(document).encode())
    storage.delete(keys.image(A, "_checksum"))
    return storage


def test_a_large_configuration_is_converted_again_only_when_it_is_asked_for() -> None:
    counted = CountingImages(large_store(), cache=50_000)
    first = counted.v2images.get(A)
    assert len(first.config) > 100_000
    known = counted.v2images.get(A, whole=False)
    assert (known.manifests, known.config_digest) == (first.manifests, first.config_digest)
    assert counted.count == 1
    assert counted.v2images.get(A) == first
    assert counted.count == 2


def test_an_image_that_no_engine_takes_is_converted_once() -> None:
    counted = CountingImages(large_store(created="yesterday"), cache=50_000)
    for _ in range(3):
        with pytest.raises(UnservableImage, match="is not a time"):
            counted.v2images.get(A)
    assert counted.count == 1


def test_a_missing_ancestor_is_looked_for_each_time() -> None:
    storage = MemoryStorage()
    write_image(storage, B, (A,), layer_of("b"))
    counted = CountingImages(storage, cache=50_000)
    with pytest.raises(UnservableImage, match="missing"):
        counted.v2images.get(B)
    write_image(storage, A, (), layer_of("a"))
    assert counted.v2images.get(B).id == B
