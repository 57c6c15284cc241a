"""Repairs of what `verify` found. No repair can lose data.

Each repair first looks at the object again, so it may run twice, and beside servers and pushes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from v1registry.lib import documents
from v1registry.lib.images.cleaner import Cleaner
from v1registry.lib.images.commit import Commits
from v1registry.lib.images.images import Images
from v1registry.lib.layers.scan import LayerDescriptor
from v1registry.lib.maintenance.findings import Finding
from v1registry.lib.maintenance.image_checks import DERIVED
from v1registry.lib.maintenance.parents import Parents
from v1registry.lib.maintenance.repository_checks import is_image_list, movable
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.oci.layer_metadata import LayerMetadataStore, parse_metadata
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.tags import Tags
from v1registry.storage import Storage, get_or_none, keys
from v1registry.storage.errors import NotFound

_SIMPLE = "sha256:"


@dataclass(eq=False)
class Repairs:
    """Carries out repairs. `life` is the age in seconds of an abandoned push."""

    storage: Storage
    images: Images
    commits: Commits
    tags: Tags
    references: RepositoryReferences
    blobs: LayerMetadataStore
    cleaner: Cleaner
    parents: Parents
    life: float

    def repair(self, finding: Finding) -> None:
        """Repair what a finding describes, unless that is not safe. Raise StorageError."""
        _METHODS[finding.code](self, finding)

    # -- images ------------------------------------------------------------------------

    def restore(self, finding: Finding) -> None:
        """Write the small files of an image as they were pushed, if record and layer prove them."""
        image_id = _image(finding)
        record = self.commits.find(image_id)
        if record is None or not record.document:
            return
        document = record.document.encode("latin-1")
        total = hashlib.sha256(document + b"\n")
        try:
            with self.storage.open(keys.image(image_id, "layer")) as layer:
                size = layer.size
                for piece in layer.pieces():
                    total.update(piece)
        except NotFound:
            return
        is_pushed = hashlib.sha256(document).hexdigest() == record.json
        if is_pushed and size == record.size and _SIMPLE + total.hexdigest() in record.checksums:
            self.commits.complete(image_id)

    def write_ancestry(self, finding: Finding) -> None:
        """Write the ancestry that the parents make; the check has seen that no id gets lost."""
        image_id = _image(finding)
        chain = self.parents.chain(image_id)
        if chain.end == "base":
            self.storage.put(keys.image(image_id, "ancestry"), documents.dump(chain.ids))

    def complete(self, finding: Finding) -> None:
        """Complete an interrupted commit."""
        self.commits.complete(_image(finding))

    def delete_derived(self, finding: Finding) -> None:
        """Delete the derived files of an image that has nothing else."""
        folder = f"{keys.IMAGES}/{_image(finding)}"
        entries = list(self.storage.list(folder))
        if {entry.name for entry in entries} <= DERIVED:
            for entry in entries:
                self._delete(f"{folder}/{entry.name}", is_folder=entry.is_folder)
            self.storage.delete_folder(folder)

    def compute_metadata(self, finding: Finding) -> None:
        """Compute layer metadata anew, after the old digest is forgotten."""
        image_id = _image(finding)
        try:
            old = parse_metadata(self.storage.get(keys.image(image_id, "_oci"))).found
        except (NotFound, ValueError):
            old = None
        if isinstance(old, LayerDescriptor):
            self.blobs.digests.forget(old.digest, "layer", image_id)
        self.storage.delete(keys.image(image_id, "_oci"))
        image = self.images.find(image_id)
        if image is not None:
            self.blobs.compute(image)

    def delete_stale(self, finding: Finding) -> None:
        """Delete the references of an image that no tag confirms."""
        self.references.delete_stale(_image(finding))

    def write_reference(self, finding: Finding) -> None:
        """Write a missing reference, if the tag that needs it still leads to the image."""
        image_id = _image(finding)
        name, _, tag = finding.detail.rpartition(":")
        repository = RepositoryName.parse_stored(name)
        top = self.tags.get(repository, tag)
        if top is not None and (top == image_id or image_id in self.parents.ancestors(top)):
            self.references.write(repository, tag, image_id)

    # -- repositories ------------------------------------------------------------------------

    def delete_second_tag(self, finding: Finding) -> None:
        """Delete the second file of a tag, if the first one names the same image."""
        folder, file = finding.object.rsplit("/", 1)
        repository = RepositoryName.of_folders(*folder.split("/")[1:])
        if repository is None:
            return
        stored = self.tags.stored(repository, keys.tag_name(file))
        for other in stored[1:]:
            if self.tags.read(stored[0]) == self.tags.read(other):
                self.storage.delete(other)

    def merge(self, finding: Finding) -> None:
        """Move files to the folder of the current encoding, except those that contradict it."""
        older = finding.object
        repository = RepositoryName.of_folders(*older.split("/")[1:])
        if repository is None or older == repository.folder:
            return
        for name, data in movable(self.storage, self.tags, repository, older):
            old, new = f"{older}/{name}", f"{repository.folder}/{name}"
            self.storage.create(new, data)
            if get_or_none(self.storage, old) is None:
                self.storage.delete_if(new, data)  # a client has deleted it meanwhile
            elif get_or_none(self.storage, new) == data:
                self.storage.delete(old)
        if next(self.storage.list(older), None) is None:
            self.storage.delete_folder(older)

    def write_list(self, finding: Finding) -> None:
        """Write an image list anew, with all images that the tags lead to."""
        folder = finding.object.rpartition("/")[0]
        repository = RepositoryName.of_folders(*folder.split("/")[1:])
        if repository is None:
            return
        ids: dict[str, None] = {}
        for _, top in self.tags.each(repository):
            ids.update(dict.fromkeys(self.parents.ancestors(top)))
        if not is_image_list(get_or_none(self.storage, finding.object)):  # no push has written it
            self.storage.put(finding.object, documents.dump([{"id": id} for id in ids]))

    # -- what belongs to no image --------------------------------------------------------------

    def clean(self, finding: Finding) -> None:
        """Delete what abandoned pushes have staged."""
        self.cleaner.clean(time.time() - self.life)

    def delete(self, finding: Finding) -> None:
        """Delete an object whose content has no use."""
        self.storage.delete(finding.object)

    def _delete(self, key: str, *, is_folder: bool) -> None:
        if is_folder:
            self.storage.delete_folder(key)
        else:
            self.storage.delete(key)


def _image(finding: Finding) -> ImageId:
    return ImageId(finding.object.split("/")[1])


_METHODS: dict[str, Callable[[Repairs, Finding], None]] = {
    **dict.fromkeys(
        ("json-missing", "json-invalid", "json-id", "json-changed", "parent-invalid"),
        Repairs.restore,
    ),
    **dict.fromkeys(("checksum-invalid", "checksum-changed"), Repairs.restore),
    **dict.fromkeys(
        ("ancestry-missing", "ancestry-invalid", "ancestry-differs"), Repairs.write_ancestry
    ),
    "commit-unfinished": Repairs.complete,
    "push-abandoned": Repairs.clean,
    "push-remains": Repairs.clean,
    "metadata-orphaned": Repairs.delete_derived,
    "metadata-invalid": Repairs.compute_metadata,
    "metadata-differs": Repairs.compute_metadata,
    "reference-stale": Repairs.delete_stale,
    "reference-missing": Repairs.write_reference,
    "repository-twice": Repairs.merge,
    "tag-twice": Repairs.delete_second_tag,
    "list-invalid": Repairs.write_list,
    **dict.fromkeys(
        (
            "listing-invalid",
            "reference-invalid",
            "repository-json-invalid",
            "tag-metadata-orphaned",
            "tag-metadata-invalid",
            "list-entry-invalid",
            "digest-orphaned",
        ),
        Repairs.delete,
    ),
}

#: The codes that a repair exists for.
REPAIRED = frozenset(_METHODS)
