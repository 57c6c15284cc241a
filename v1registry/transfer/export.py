"""From the store to a file or folder: an OCI layout, or an archive for `docker load`.

The archive is both at once: the form of engines before 1.10 (`repositories`, and
a folder an image with `VERSION`, `json` and `layer.tar`) and the one since
(`manifest.json` and configurations), as engines from 1.10 to 24 wrote it.
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
    """A way to write images down."""

    media_type: str
    told: int  # bytes that the progress was told of

    def layers(self, image: V2Image) -> list[tuple[str, int]]:
        """Name and size of each layer that is not written yet."""

    def add(self, tagged: Tagged, image: V2Image) -> None:
        """Write one tag. Raise TransferError."""

    def close(self) -> None:
        """Write what comes last."""


def export(
    tags: Sequence[Tagged],
    v2images: V2Images,
    form: ExportFormat,
    progress: TransferProgress,
    report: TransferReport,
) -> None:
    """Write the tags down; what cannot be written is in the report, and left out.

    Raise Aborted if no more can be written.
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
    progress.expect(form.told - expected)  # what failed is expected no more


def _expected(tags: Sequence[Tagged], v2images: V2Images, form: ExportFormat) -> int:
    """Bytes of all layers that have to be written, each once."""
    found: dict[str, int] = {}
    for tagged in tags:
        with contextlib.suppress(NotShown, StorageError, Failure):  # told when it is its turn
            found.update(form.layers(v2images.get(ImageId.parse(tagged.image_id))))
    return sum(found.values())


class LayoutExport:
    """Writes into an OCI layout; each blob once."""

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
        self.told = 0

    def layers(self, image: V2Image) -> list[tuple[str, int]]:
        blobs = [(facts.digest, facts.size) for _, facts in image.layers]
        return [blob for blob in blobs if not self._writer.has(*blob)]

    def add(self, tagged: Tagged, image: V2Image) -> None:
        for image_id, facts in image.layers:
            if self._writer.has(facts.digest, facts.size):
                self._report.present += 1
                continue
            blob = SourceLayerBlob(self._images, image_id, facts)
            self._writer.put(facts.digest, self._counted(blob.pieces()))
            self._report.uploaded += 1
            self._progress.layer()
        if not self._writer.has(image.config_digest, len(image.config)):
            self._writer.put(image.config_digest, [image.config])
        self._writer.tag(f"{tagged.target}:{tagged.tag}", image.manifests[OCI].data)

    def close(self) -> None:
        self._writer.close()

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.told += len(piece)
            self._progress.bytes(len(piece))
            self._report.sent += len(piece)
            yield piece


@dataclass(slots=True)
class _Entry:
    """One image of `manifest.json`."""

    layers: list[str]
    names: list[str] = field(default_factory=list)


class ArchiveExport:
    """Writes an archive for `docker load`; each layer once, unpacked as engines want it."""

    media_type = SCHEMA2

    def __init__(
        self, writer: Writer, images: Images, progress: TransferProgress, report: TransferReport
    ) -> None:
        self._writer = writer
        self._images = images
        self._progress = progress
        self._report = report
        self.told = 0
        self._entries: dict[str, _Entry] = {}  # by the name of the configuration
        self._repositories: dict[str, dict[str, str]] = {}

    def layers(self, image: V2Image) -> list[tuple[str, int]]:
        return [(str(image_id), facts.size) for image_id, facts in image.layers]

    def add(self, tagged: Tagged, image: V2Image) -> None:
        for image_id, facts in image.layers:
            if f"{image_id}/layer.tar" in self._writer.names:
                self._report.present += 1
                continue
            self._layer(SourceLayerBlob(self._images, image_id, facts))
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
        # a tar archive says of each member how long it is before it comes: unpack it twice
        size = sum(len(piece) for piece in blob.unpacked())
        folder = str(blob.image_id)
        pieces = self._checked(blob)
        try:
            self._writer.stream(f"{folder}/layer.tar", size, pieces)
        except (TransferError, StorageError, Failure) as error:  # in the middle of a member
            raise Aborted(str(error)) from error
        self._writer.add(f"{folder}/json", self._images.get(blob.image_id).json)
        self._writer.add(f"{folder}/VERSION", VERSION)
        self._report.uploaded += 1
        self._progress.layer()

    def _checked(self, blob: SourceLayerBlob) -> Iterator[bytes]:
        sum = hashlib.sha256()
        for piece in blob.unpacked(self._tell):
            sum.update(piece)
            self._report.sent += len(piece)
            yield piece
        if f"sha256:{sum.hexdigest()}" != blob.facts.diff_id:
            raise TransferError(f"the layer of {blob.image_id} changed since it was read first")

    def _tell(self, count: int) -> None:
        self.told += count
        self._progress.bytes(count)
