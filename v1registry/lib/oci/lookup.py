"""Finds manifests and blobs in a repository for v2 clients: by tag or by digest.

A digest is served only in a repository that contains its image: one of its tags must lead to the image
through parents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Image, Images
from v1registry.lib.layers.scan import LayerDescriptor
from v1registry.lib.names import Digest, ImageId, RepositoryName, Tag
from v1registry.lib.oci.digest_index import DigestEntry, DigestIndex
from v1registry.lib.oci.images import KINDS, Manifest, UnservableImage, V2Image, V2Images
from v1registry.lib.oci.layer_metadata import LayerMetadataStore
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.repositories import Repositories


@dataclass(frozen=True, slots=True)
class StoredLayerBlob:
    """A blob that is the layer of `image`."""

    image: Image
    metadata: LayerDescriptor


@dataclass(frozen=True, slots=True)
class Lookup:
    """Finds manifests and blobs."""

    repositories: Repositories
    references: RepositoryReferences
    images: Images
    blobs: LayerMetadataStore
    v2images: V2Images
    digests: DigestIndex

    def tagged(self, repository: RepositoryName, tag: Tag) -> V2Image:
        """Return the image of a tag, perhaps without its config. Raise Failure 404, UnservableImage."""
        return self.v2images.get(ImageId(self.repositories.tag(repository, tag)), whole=False)

    def manifest(self, repository: RepositoryName, digest: Digest) -> Manifest:
        """Return the manifest with this digest. Raise Failure 404."""
        for entry in self._entries(repository, digest):
            for media_type, kind in KINDS.items():
                if entry.kind == kind and (shown := self._shown(entry.image_id)):
                    manifest = shown.manifests[media_type]
                    if manifest.digest == digest:
                        return manifest
        raise Failure(*errors.MANIFEST_UNKNOWN)

    def blob(self, repository: RepositoryName, digest: Digest) -> StoredLayerBlob | bytes:
        """Return the layer, or the bytes of the config, with this digest. Raise Failure 404."""
        for entry in self._entries(repository, digest):
            if entry.kind == "layer":
                found = self._layer(entry.image_id)
                if found and found.metadata.digest == digest:
                    return found
            elif entry.kind in ("config", "part") and (shown := self._shown(entry.image_id)):
                if shown.config_digest == digest:
                    return shown.config or self.v2images.get(entry.image_id).config
                for layer_id, metadata in shown.layers:
                    if metadata.digest == digest and (image := self.images.find(layer_id)):
                        return StoredLayerBlob(image, metadata)
        raise Failure(*errors.BLOB_UNKNOWN)

    def _layer(self, image_id: ImageId) -> StoredLayerBlob | None:
        image = self.images.find(image_id)
        metadata = self.blobs.known(image) if image else None
        return (
            StoredLayerBlob(image, metadata)
            if image and isinstance(metadata, LayerDescriptor)
            else None
        )

    def _shown(self, image_id: ImageId) -> V2Image | None:
        """Return the image, perhaps without its config."""
        try:
            return self.v2images.get(image_id, whole=False)
        except UnservableImage:
            return None

    def _entries(self, repository: RepositoryName, digest: Digest) -> Iterator[DigestEntry]:
        """Yield the entries of a digest whose images the repository contains."""
        for anew in (False, True):
            for entry in self.digests.find(digest, anew=anew):
                if self._may(repository, entry):
                    yield entry
        if self.digests.incomplete:
            yield from self._search(repository, digest)

    def _may(self, repository: RepositoryName, entry: DigestEntry) -> bool:
        if self.references.contains(repository, entry.image_id):
            return True
        # The digest index has one image for all empty layers. An empty layer discloses nothing.
        found = self._layer(entry.image_id) if entry.kind == "layer" else None
        return found is not None and found.metadata.is_empty

    def _search(self, repository: RepositoryName, digest: Digest) -> Iterator[DigestEntry]:
        """Yield entries without the digest index, for a store that is read-only or full."""
        for image_id in set(self.repositories.tags(repository).values()):
            shown = self._shown(ImageId(image_id))
            if shown is None:
                continue
            if digest in (shown.config_digest, *(metadata.digest for _, metadata in shown.layers)):
                yield DigestEntry("part", shown.id)
            for media_type, kind in KINDS.items():
                if shown.manifests[media_type].digest == digest:
                    yield DigestEntry(kind, shown.id)
