"""Every kind of damage that `verify` finds, planted in one store with images of our own and of 0.9.1.

Each corruption has its own repository and images, a `Family`, so that all of them fit into one store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.lib.stores import layer_of, payload
from tests.lib.v2 import Node
from v1registry.lib.names import ImageId, RepositoryName, Tag
from v1registry.storage import Storage, keys

AGENT = "docker/1.12.6 os/linux"
Expected = set[tuple[str, str]]


def id_of(word: str) -> ImageId:
    return ImageId(hashlib.sha256(word.encode()).hexdigest())


@dataclass
class Family:
    """A base image and its child in a repository with the tag `1`, pushed to this registry."""

    node: Node
    name: str

    def __post_init__(self) -> None:
        self.storage: Storage = self.node.domain.storage
        self.base, self.top = id_of(f"{self.name} base"), id_of(f"{self.name} top")
        self.repository = RepositoryName("team", f"deep/{self.name}")
        self.folder = self.repository.folder

    def push(self) -> None:
        self._push(self.base)
        self._push(self.top, parent=self.base)
        self.tag("1", self.top)
        listed = [{"id": id} for id in (self.base, self.top)]
        self.node.domain.storage.put(f"{self.folder}/_index_images", json.dumps(listed).encode())

    def _push(self, id: ImageId, **more: str) -> None:
        data = json.dumps({"id": id, "comment": self.name, **more}).encode()
        layer = layer_of(f"{id}.txt")
        uploads = self.node.domain.uploads
        uploads.put_json(id, data)
        uploads.put_layer(id, [layer])
        uploads.put_checksum(id, payload(data, layer), None)
        image = self.node.domain.images.get(id)
        self.node.blobs.compute(image)

    def old_image(self, word: str, layer: bytes = b"", **more: object) -> ImageId:
        """Write an image as 0.9.1 does; return its id."""
        id = id_of(f"{self.name} {word}")
        data = json.dumps({"id": id, **more}).encode()
        layer = layer or layer_of(f"{id}.txt")
        parent = more.get("parent")
        self.put(id, "json", data)
        self.put(id, "ancestry", json.dumps([id, *([parent] if parent else [])]).encode())
        self.put(id, "layer", layer)
        self.put(id, "_checksum", json.dumps([payload(data, layer)]).encode())
        return id

    def tag(self, tag: str, id: str) -> None:
        self.node.domain.repositories.set_tag(
            self.repository, Tag(tag), json.dumps(id).encode(), AGENT
        )

    def put(self, id: str, part: str, data: bytes) -> None:
        self.storage.put(keys.image(id, part), data)

    def get(self, id: str, part: str) -> bytes:
        return self.storage.get(keys.image(id, part))

    def file(self, name: str, data: bytes) -> str:
        """Write a file of the repository; return its key."""
        self.storage.put(f"{self.folder}/{name}", data)
        return f"{self.folder}/{name}"


Plant = Callable[[Family], Expected]
REPAIRED: dict[str, Plant] = {}  # corruptions that --repair repairs
LASTING: dict[str, Plant] = {}  # corruptions that it must leave alone


def repaired(plant: Plant) -> Plant:
    REPAIRED[plant.__name__] = plant
    return plant


def lasting(plant: Plant) -> Plant:
    LASTING[plant.__name__] = plant
    return plant


def _small_file(code: str, part: str, data: bytes) -> None:
    """Add a corruption that replaces a small file of the upper image."""

    def plant(family: Family) -> Expected:
        family.put(family.top, part, data)
        return {(code, keys.image(family.top, part))}

    plant.__name__ = f"{code}-{part}"
    repaired(plant)


_small_file("json-invalid", "json", b'{"id": ')
_small_file("checksum-invalid", "_checksum", b"[]")
_small_file("checksum-changed", "_checksum", json.dumps(["sha256:" + "0" * 64]).encode())
_small_file("ancestry-invalid", "ancestry", b'["a"]')
_small_file("metadata-invalid", "_oci", b"{}")
_small_file("listing-invalid", "_files", b'[["a"')
_small_file("listing-invalid", "_diff", b"[]")


@repaired
def no_json(family: Family) -> Expected:
    family.storage.delete(keys.image(family.top, "json"))
    tag = f"{family.folder}/tag_1"
    return {("json-missing", keys.image(family.top, "json")), ("tag-dangling", tag)}


@repaired
def json_of_another_image(family: Family) -> Expected:
    family.put(family.top, "json", family.get(family.base, "json"))
    return {("json-id", keys.image(family.top, "json"))}


@repaired
def changed_json(family: Family) -> Expected:
    family.put(family.top, "json", family.get(family.top, "json") + b" ")
    return {("json-changed", keys.image(family.top, "json"))}


@repaired
def parent_is_no_id(family: Family) -> Expected:
    family.put(family.top, "json", json.dumps({"id": family.top, "parent": "../x"}).encode())
    return {("parent-invalid", keys.image(family.top, "json"))}


@lasting
def json_of_0x(family: Family) -> Expected:
    id = family.old_image("old")
    family.put(id, "json", b"")
    return {("json-invalid", keys.image(id, "json"))}


@lasting
def no_parent(family: Family) -> Expected:
    id = family.old_image("child", parent=id_of("nothing"))
    return {("parent-missing", keys.image(id, "json"))}


@lasting
def loop(family: Family) -> Expected:
    one, two = id_of(f"{family.name} one"), id_of(f"{family.name} two")
    family.old_image("one", parent=two)
    family.old_image("two", parent=one)
    return {("parent-loop", keys.image(id, "json")) for id in (one, two)}


@repaired
def no_ancestry(family: Family) -> Expected:
    family.storage.delete(keys.image(family.top, "ancestry"))
    return {("ancestry-missing", keys.image(family.top, "ancestry"))}


@repaired
def short_ancestry(family: Family) -> Expected:
    family.put(family.top, "ancestry", json.dumps([family.top]).encode())
    return {("ancestry-differs", keys.image(family.top, "ancestry"))}


@lasting
def ancestry_of_other_images(family: Family) -> Expected:
    """Only the ancestry names an image, so writing it anew could make that image garbage."""
    id, other = family.old_image("old"), family.old_image("other")
    family.put(id, "ancestry", json.dumps([id, other]).encode())
    return {("ancestry-differs", keys.image(id, "ancestry"))}


@lasting
def no_layer(family: Family) -> Expected:
    family.storage.delete(keys.image(family.top, "layer"))
    return {("layer-missing", keys.image(family.top, "layer"))}


@lasting
def truncated_layer(family: Family) -> Expected:
    family.put(family.top, "layer", family.get(family.top, "layer")[:700])
    key = keys.image(family.top, "layer")
    return {("layer-size", key), ("checksum-mismatch", key)}


@lasting
def other_bytes(family: Family) -> Expected:
    family.put(family.top, "layer", layer_of("x" * 64 + ".txt"))
    return {("checksum-mismatch", keys.image(family.top, "layer"))}


@lasting
def no_tar(family: Family) -> Expected:
    id = family.old_image("old", layer=b"no tar archive" * 100)
    return {("layer-damaged", keys.image(id, "layer"))}


@lasting
def other_tarsum(family: Family) -> Expected:
    id = family.old_image("old")
    family.put(id, "_checksum", b"tarsum+sha256:" + b"0" * 64)
    return {("checksum-mismatch", keys.image(id, "layer"))}


@lasting
def other_chain_id(family: Family) -> Expected:
    id = family.old_image("old")
    family.storage.delete(keys.image(id, "_checksum"))
    return {("chain-id", keys.image(id, "layer"))}


@lasting
def damaged_record(family: Family) -> Expected:
    family.put(family.top, "_commit", b"{")
    return {("commit-invalid", keys.image(family.top, "_commit"))}


@repaired
def interrupted_commit(family: Family) -> Expected:
    family.put(family.top, "_inprogress", b"true")
    return {("commit-unfinished", keys.image(family.top, "_commit"))}


@lasting
def upload_of_0x(family: Family) -> Expected:
    id = id_of(f"{family.name} new")
    family.put(id, "_inprogress", b"true")
    family.put(id, "json", json.dumps({"id": id}).encode())
    return {("upload-unfinished", keys.image(id, "_inprogress"))}


@repaired
def abandoned_push(family: Family) -> Expected:
    id = id_of(f"{family.name} new")
    family.node.domain.uploads.put_json(id, json.dumps({"id": id}).encode())
    return {("push-abandoned", keys.pushes(id))}


@repaired
def notes_of_a_completed_push(family: Family) -> Expected:
    family.storage.put(keys.pushed_copy(family.top, "0" * 16), b"{}")
    return {("push-remains", keys.pushes(family.top))}


@repaired
def abandoned_layer(family: Family) -> Expected:
    key = keys.image(id_of(f"{family.name} new"), "layer")
    family.storage.stage(key, [b"bytes"])
    return {("push-abandoned", key)}


@repaired
def metadata_of_no_image(family: Family) -> Expected:
    id = id_of(f"{family.name} gone")
    family.put(id, "_files", b"[]")
    family.storage.put(keys.reference(id, "team/app"), b"{}")
    return {("metadata-orphaned", f"images/{id}")}


@repaired
def metadata_of_other_bytes(family: Family) -> Expected:
    value = json.loads(family.get(family.top, "_oci"))
    value["facts"]["diff_id"] = "sha256:" + "0" * 64
    family.put(family.top, "_oci", json.dumps(value).encode())
    return {("metadata-differs", keys.image(family.top, "_oci"))}


@repaired
def damaged_reference(family: Family) -> Expected:
    key = keys.reference(family.base, "team/other")
    family.storage.put(key, b"{")
    return {("reference-invalid", key)}


@repaired
def stale_reference(family: Family) -> Expected:
    key = keys.reference(family.base, "team/other")
    value = {"repository": "team/other", "tag": "1", "whole": True}
    family.storage.put(key, json.dumps(value).encode())
    return {("reference-stale", key)}


@repaired
def no_reference(family: Family) -> Expected:
    key = keys.reference(family.base, str(family.repository))
    family.storage.delete(key)
    return {("reference-missing", key)}


@lasting
def name_of_no_image(family: Family) -> Expected:
    family.put(family.name.upper(), "json", b"{}")
    return {("image-id-invalid", f"images/{family.name.upper()}")}


@lasting
def name_of_no_repository(family: Family) -> Expected:
    family.storage.put("repositories/team/tags/tag_1", family.top.encode())
    return {("repository-name-invalid", "repositories/team/tags")}


@repaired
def second_folder(family: Family) -> Expected:
    older = family.repository.folders[1]
    family.storage.put(f"{older}/tag_1", family.top.encode())
    family.storage.put(f"{older}/tag_2", family.base.encode())
    return {("repository-twice", older), ("tag-twice", f"{older}/tag_1")}


@lasting
def contradicting_folder(family: Family) -> Expected:
    older = family.repository.folders[1]
    family.storage.put(f"{older}/tag_1", family.base.encode())
    return {("repository-twice", older), ("tag-twice", f"{older}/tag_1")}


@lasting
def older_folder_with_a_hidden_tag(family: Family) -> Expected:
    """Clients see the tag of the current folder. The older file must not come before it."""
    older = family.repository.folders[1]
    family.file("tag_a~b", family.top.encode())
    family.storage.put(f"{older}/tag_a%7Eb", family.base.encode())
    return {("repository-twice", older), ("tag-twice", f"{older}/tag_a%7Eb")}


@repaired
def tag_of_080(family: Family) -> Expected:
    family.file("tag_a%7Eb", family.top.encode())
    return {("tag-twice", family.file("tag_a~b", family.top.encode()))}


@repaired
def damaged_repository_metadata(family: Family) -> Expected:
    return {("repository-json-invalid", family.file("json", b"["))}


@lasting
def name_of_no_tag(family: Family) -> Expected:
    return {("tag-name-invalid", family.file("tag_%01", family.top.encode()))}


@lasting
def tag_without_id(family: Family) -> Expected:
    return {("tag-unreadable", family.file("tag_2", b"<html>"))}


@lasting
def tag_of_no_image(family: Family) -> Expected:
    return {("tag-dangling", family.file("tag_2", id_of("nothing").encode()))}


@repaired
def metadata_of_no_tag(family: Family) -> Expected:
    return {("tag-metadata-orphaned", family.file("taggone_json", b"{}"))}


@repaired
def damaged_tag_metadata(family: Family) -> Expected:
    return {("tag-metadata-invalid", family.file("tag1_json", b"["))}


@repaired
def damaged_list(family: Family) -> Expected:
    return {("list-invalid", family.file("_index_images", b'[{"id": "x"}]'))}


@repaired
def damaged_entry(family: Family) -> Expected:
    return {("list-entry-invalid", family.file(f"_index_entries/{family.top}", b"{"))}


@lasting
def damaged_members(family: Family) -> Expected:
    return {("members-invalid", family.file("_images_list", b"{"))}


@repaired
def digest_of_no_image(family: Family) -> Expected:
    key = keys.digest("sha256:" + "1" * 64, "layer", id_of("nothing"))
    family.storage.put(key, b"")
    return {("digest-orphaned", key)}


@lasting
def name_of_no_digest(family: Family) -> Expected:
    family.storage.put(f"{keys.DIGESTS}/sha256/000/x", b"")
    return {("digest-invalid", f"{keys.DIGESTS}/sha256/000/x")}
