"""Export from the store to an OCI layout, or to an archive for `docker load`.

Like archives of Docker 1.10 to 24, the archive has two formats at once: that of Docker before 1.10
(`repositories`, and a folder for each image with `VERSION`, `json` and `layer.tar`), and the newer
one (`manifest.json` and configurations).
"""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from v1registry.lib.images.images import Images
from v1registry.lib.layers.scan import LayerDescriptor
from v1registry.lib.names import ImageId
from v1registry.lib.oci.convert import OCI, SCHEMA2
from v1registry.lib.oci.images import V2Image, V2Images
from v1registry.transfer.errors import Aborted, TransferError
from v1registry.transfer.layers import SourceLayerBlob
from v1registry.transfer.layout import LayoutWriter
from v1registry.transfer.report import FAILURES, ReportLine, TransferReport
from v1registry.transfer.selection import Tagged, unloadable
from v1registry.transfer.tarball import Writer

VERSION = b"1.0"

W = TypeVar("W")


class Export(ABC, Generic[W]):
    """Writes images in one format, each layer once."""

    media_type: str

    def __init__(
        self, writer: W, images: Images, v2images: V2Images, report: TransferReport
    ) -> None:
        self._writer = writer
        self._images = images
        self._v2images = v2images
        self._report = report

    def run(self, tags: Sequence[Tagged]) -> None:
        """Write the tags. Tags that cannot be written are left out and listed in the report.

        Raise Aborted if the output is damaged.
        """
        self._report.expect(self._expected(tags))
        for tagged in tags:
            line = ReportLine.of(tagged)
            with self._report.failing(line):
                if reason := unloadable(tagged.target, tagged.tag):
                    raise TransferError(reason)
                image = self._v2images.get(ImageId.parse(tagged.image_id))
                line.describe(image, self.media_type)
                self._add(tagged, image)
                line.state = self._report.done
            self._report.finish(line, tagged)
        self._close()
        self._report.settle()

    def _expected(self, tags: Sequence[Tagged]) -> int:
        """Return the size in bytes of all layers to write, each once."""
        sizes: dict[str, int] = {}
        for tagged in tags:
            with contextlib.suppress(*FAILURES):  # reported when the tag is written
                for image_id, metadata in self._v2images.get(ImageId.parse(tagged.image_id)).layers:
                    name = self._name(image_id, metadata)
                    if not self._has(name, metadata.size):
                        sizes[name] = metadata.size
        return sum(sizes.values())

    def _add(self, tagged: Tagged, image: V2Image) -> None:
        for image_id, metadata in image.layers:
            name = self._name(image_id, metadata)
            if self._has(name, metadata.size):
                self._report.count(present=1)
                continue
            self._add_layer(name, SourceLayerBlob(self._images, image_id, metadata))
            self._report.count(uploaded=1)
            self._report.progress.layer()
        self._add_image(tagged, image)

    @abstractmethod
    def _name(self, image_id: ImageId, metadata: LayerDescriptor) -> str:
        """Return the name of a layer in the output."""

    @abstractmethod
    def _has(self, name: str, size: int) -> bool:
        """Return whether the output has the layer of this name and size."""

    @abstractmethod
    def _add_layer(self, name: str, blob: SourceLayerBlob) -> None:
        """Write a layer."""

    @abstractmethod
    def _add_image(self, tagged: Tagged, image: V2Image) -> None:
        """Write the rest of an image, whose layers are written."""

    @abstractmethod
    def _close(self) -> None:
        """Write the end of the output."""


class LayoutExport(Export[LayoutWriter]):
    """Writes an OCI layout."""

    media_type = OCI

    def _name(self, image_id: ImageId, metadata: LayerDescriptor) -> str:
        return metadata.digest

    def _has(self, name: str, size: int) -> bool:
        return self._writer.has(name, size)

    def _add_layer(self, name: str, blob: SourceLayerBlob) -> None:
        self._writer.put(name, self._counted(blob.pieces()))

    def _add_image(self, tagged: Tagged, image: V2Image) -> None:
        if not self._writer.has(image.config_digest, len(image.config)):
            self._writer.put(image.config_digest, [image.config])
        self._writer.tag(f"{tagged.target}:{tagged.tag}", image.manifests[OCI].data)

    def _close(self) -> None:
        self._writer.close()

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._report.bytes(len(piece))
            self._report.count(sent=len(piece))
            yield piece


@dataclass(slots=True)
class _Entry:
    """One image of `manifest.json`."""

    layers: list[str]
    names: list[str] = field(default_factory=list)


class ArchiveExport(Export[Writer]):
    """Writes an archive for `docker load`, with uncompressed layers."""

    media_type = SCHEMA2

    def __init__(
        self, writer: Writer, images: Images, v2images: V2Images, report: TransferReport
    ) -> None:
        super().__init__(writer, images, v2images, report)
        self._entries: dict[str, _Entry] = {}  # by name of the configuration
        self._repositories: dict[str, dict[str, str]] = {}

    def _name(self, image_id: ImageId, metadata: LayerDescriptor) -> str:
        return f"{image_id}/layer.tar"

    def _has(self, name: str, size: int) -> bool:
        return name in self._writer.names

    def _add_layer(self, name: str, blob: SourceLayerBlob) -> None:
        # The size comes first in a tar archive, so the layer is unpacked twice.
        size = sum(len(piece) for piece in blob.unpacked())
        try:
            self._writer.stream(name, size, self._checked(blob))
        except FAILURES as error:  # a member of the archive is incomplete
            raise Aborted(str(error)) from error
        self._writer.add(f"{blob.image_id}/json", self._images.get(blob.image_id).json)
        self._writer.add(f"{blob.image_id}/VERSION", VERSION)

    def _add_image(self, tagged: Tagged, image: V2Image) -> None:
        name = f"{image.config_digest.removeprefix('sha256:')}.json"
        if name not in self._writer.names:
            self._writer.add(name, image.config)
        layers = [self._name(*layer) for layer in image.layers]
        repository = tagged.target.removeprefix("library/")
        self._entries.setdefault(name, _Entry(layers)).names.append(f"{repository}:{tagged.tag}")
        self._repositories.setdefault(repository, {})[tagged.tag] = image.id

    def _close(self) -> None:
        document = [
            {"Config": name, "RepoTags": entry.names, "Layers": entry.layers}
            for name, entry in self._entries.items()
        ]
        self._writer.json("manifest.json", document)
        self._writer.json("repositories", self._repositories)
        self._writer.close()

    def _checked(self, blob: SourceLayerBlob) -> Iterator[bytes]:
        sum = hashlib.sha256()
        for piece in blob.unpacked(self._report.bytes):
            sum.update(piece)
            self._report.count(sent=len(piece))
            yield piece
        if f"sha256:{sum.hexdigest()}" != blob.metadata.diff_id:
            raise TransferError(f"the layer of {blob.image_id} changed while it was exported")
