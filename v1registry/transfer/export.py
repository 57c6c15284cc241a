"""Export from the store to an OCI layout, or to an archive for `docker load`.

Like archives of Docker 1.10 to 24, the archive has two formats at once: that of Docker before 1.10
(`repositories`, and a folder for each image with `VERSION`, `json` and `layer.tar`), and the newer
one (`manifest.json` and configurations).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Images
from v1registry.lib.names import ImageId
from v1registry.lib.oci.convert import OCI, SCHEMA2
from v1registry.lib.oci.images import NotShown, V2Image, V2Images
from v1registry.storage.errors import StorageError
from v1registry.transfer.errors import Aborted, TransferError
from v1registry.transfer.layers import SourceLayerBlob
from v1registry.transfer.layout import LayoutWriter
from v1registry.transfer.progress import TransferProgress
from v1registry.transfer.report import ReportLine, TransferReport
from v1registry.transfer.selection import Tagged, unloadable
from v1registry.transfer.tarball import Writer

VERSION = b"1.0"


class ExportFormat(Protocol):
    """A format of the output."""

    media_type: str
    reported: int  # bytes that were reported to the progress

    def layers(self, image: V2Image) -> list[tuple[str, int]]:
        """Return name and size of each layer that is not written yet."""

    def add(self, tagged: Tagged, image: V2Image) -> None:
        """Write one tag. Raise TransferError."""

    def close(self) -> None:
        """Write the end of the output."""


def export(
    tags: Sequence[Tagged],
    v2images: V2Images,
    form: ExportFormat,
    progress: TransferProgress,
    report: TransferReport,
) -> None:
    """Write the tags. Tags that cannot be written are left out and listed in the report.

    Raise Aborted if the output is damaged.
    """
    expected = _expected(tags, v2images, form)
    progress.expect(expected)
    for tagged in tags:
        line = ReportLine(
            str(tagged.repository), tagged.tag, tagged.target, tagged.image_id, "failed"
        )
        try:
            if reason := unloadable(tagged.target, tagged.tag):
                raise TransferError(reason)
            image = v2images.get(ImageId.parse(tagged.image_id))
            line.image_id, line.layers = image.config_digest, len(image.layers)
            line.media_type = form.media_type
            line.manifest = image.manifests[form.media_type].digest
            line.notes = image.notes
            form.add(tagged, image)
            line.state = report.done
        except Aborted:
            raise
        except (TransferError, NotShown, StorageError, Failure) as error:
            line.reason = str(error)
        report.lines.append(line)
        words = f"{line.state} {tagged}"
        progress.image(f"{words}: {line.reason}" if line.reason else words)
    form.close()
    progress.expect(form.reported - expected)  # do not expect failed images any more


def _expected(tags: Sequence[Tagged], v2images: V2Images, form: ExportFormat) -> int:
    """Return the size in bytes of all layers to write, each once."""
    found: dict[str, int] = {}
    for tagged in tags:
        with contextlib.suppress(
            NotShown, StorageError, Failure
        ):  # reported when the tag is written
            found.update(form.layers(v2images.get(ImageId.parse(tagged.image_id))))
    return sum(found.values())


class LayoutExport:
    """Writes an OCI layout, each blob once."""

    media_type = OCI

    def __init__(
        self,
        writer: LayoutWriter,
        images: Images,
        progress: TransferProgress,
        report: TransferReport,
    ) -> None:
        self._writer = writer
        self._images = images
        self._progress = progress
        self._report = report
        self.reported = 0

    def layers(self, image: V2Image) -> list[tuple[str, int]]:
        blobs = [(metadata.digest, metadata.size) for _, metadata in image.layers]
        return [blob for blob in blobs if not self._writer.has(*blob)]

    def add(self, tagged: Tagged, image: V2Image) -> None:
        for image_id, metadata in image.layers:
            if self._writer.has(metadata.digest, metadata.size):
                self._report.present += 1
                continue
            blob = SourceLayerBlob(self._images, image_id, metadata)
            self._writer.put(metadata.digest, self._counted(blob.pieces()))
            self._report.uploaded += 1
            self._progress.layer()
        if not self._writer.has(image.config_digest, len(image.config)):
            self._writer.put(image.config_digest, [image.config])
        self._writer.tag(f"{tagged.target}:{tagged.tag}", image.manifests[OCI].data)

    def close(self) -> None:
        self._writer.close()

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.reported += len(piece)
            self._progress.bytes(len(piece))
            self._report.sent += len(piece)
            yield piece


@dataclass(slots=True)
class _Entry:
    """One image of `manifest.json`."""

    layers: list[str]
    names: list[str] = field(default_factory=list)


class ArchiveExport:
    """Writes an archive for `docker load`, each layer once and uncompressed."""

    media_type = SCHEMA2

    def __init__(
        self, writer: Writer, images: Images, progress: TransferProgress, report: TransferReport
    ) -> None:
        self._writer = writer
        self._images = images
        self._progress = progress
        self._report = report
        self.reported = 0
        self._entries: dict[str, _Entry] = {}  # by name of the configuration
        self._repositories: dict[str, dict[str, str]] = {}

    def layers(self, image: V2Image) -> list[tuple[str, int]]:
        return [(str(image_id), metadata.size) for image_id, metadata in image.layers]

    def add(self, tagged: Tagged, image: V2Image) -> None:
        for image_id, metadata in image.layers:
            if f"{image_id}/layer.tar" in self._writer.names:
                self._report.present += 1
                continue
            self._layer(SourceLayerBlob(self._images, image_id, metadata))
        name = f"{image.config_digest.removeprefix('sha256:')}.json"
        if name not in self._writer.names:
            self._writer.add(name, image.config)
        entry = self._entries.setdefault(
            name, _Entry([f"{image_id}/layer.tar" for image_id, _ in image.layers])
        )
        repository = tagged.target.removeprefix("library/")
        entry.names.append(f"{repository}:{tagged.tag}")
        self._repositories.setdefault(repository, {})[tagged.tag] = image.id

    def close(self) -> None:
        document = [
            {"Config": name, "RepoTags": entry.names, "Layers": entry.layers}
            for name, entry in self._entries.items()
        ]
        self._writer.json("manifest.json", document)
        self._writer.json("repositories", self._repositories)
        self._writer.close()

    def _layer(self, blob: SourceLayerBlob) -> None:
        # The size comes first in a tar archive, so the layer is unpacked twice.
        size = sum(len(piece) for piece in blob.unpacked())
        folder = str(blob.image_id)
        pieces = self._checked(blob)
        try:
            self._writer.stream(f"{folder}/layer.tar", size, pieces)
        except (
            TransferError,
            StorageError,
            Failure,
        ) as error:  # a member of the archive is incomplete
            raise Aborted(str(error)) from error
        self._writer.add(f"{folder}/json", self._images.get(blob.image_id).json)
        self._writer.add(f"{folder}/VERSION", VERSION)
        self._report.uploaded += 1
        self._progress.layer()

    def _checked(self, blob: SourceLayerBlob) -> Iterator[bytes]:
        sum = hashlib.sha256()
        for piece in blob.unpacked(self._report_bytes):
            sum.update(piece)
            self._report.sent += len(piece)
            yield piece
        if f"sha256:{sum.hexdigest()}" != blob.metadata.diff_id:
            raise TransferError(f"the layer of {blob.image_id} changed while it was exported")

    def _report_bytes(self, count: int) -> None:
        self.reported += count
        self._progress.bytes(count)
