"""Migration from the store to a v2 registry: all selected tags, each blob once.

First the migration asks the registry which blobs are missing, so that the amount to send is known.
Then it sends each tag in this order: layers, configuration, manifest. So a manifest never names a
missing blob. Layers are sent in parallel. A layer that several images or repositories share is sent
once, and mounted into the other repositories. Memory does not grow with the size of layers, and only
the journal is written to disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from typing import TypeVar

from v1registry.lib.images.images import Images
from v1registry.lib.layers.scan import LayerDescriptor
from v1registry.lib.names import ImageId
from v1registry.lib.oci.convert import digest_of
from v1registry.lib.oci.images import V2Image, V2Images
from v1registry.lib.running import in_pool
from v1registry.transfer import selection
from v1registry.transfer.errors import TransferError
from v1registry.transfer.http import Interrupted
from v1registry.transfer.journal import Journal
from v1registry.transfer.layers import SourceLayerBlob
from v1registry.transfer.plan import Plan
from v1registry.transfer.remote import Remote
from v1registry.transfer.report import ReportLine, TransferReport
from v1registry.transfer.selection import Tagged

_MOST_KEPT = 1000  # images kept in memory between planning and sending

T = TypeVar("T")


@dataclass(slots=True)
class _Pending:
    """A tag to send."""

    tagged: Tagged
    line: ReportLine
    image: V2Image | None  # None: must be read again


@dataclass(eq=False)
class Migration:
    """One run. It sends `jobs` layers at once, and manifests of `media_type`.

    Setting `stop` ends the run.
    """

    images: Images
    v2images: V2Images
    remote: Remote
    journal: Journal
    report: TransferReport
    _: KW_ONLY
    media_type: str
    jobs: int
    stop: threading.Event

    def __post_init__(self) -> None:
        self._plan = Plan(self.remote, self.journal, self.report)
        self._pending: list[_Pending] = []
        self._blobs = ThreadPoolExecutor(self.jobs, "blob")
        self._lock = threading.Lock()
        self._sent: dict[tuple[str, str], Future[None]] = {}  # (repository, digest)
        self._first: dict[str, tuple[str, Future[None]]] = {}  # digest -> first repository
        self._putting: dict[tuple[str, str], threading.Lock] = {}  # (repository, configuration)

    def run(self, tags: Iterable[Tagged]) -> None:
        """Send the tags. The report lists those that cannot be sent. Raise Interrupted if stopped."""
        begun = time.monotonic()
        self.remote.notify_with(self.report.progress.note)
        try:
            self._each(tags, self._look)
            self._plan.close()
            if self.report.dry_run:
                plan = self._plan
                self.report.count(
                    uploaded=plan.uploads, mounted=plan.mounts, present=plan.present, sent=plan.size
                )
                return
            self.report.expect(self._plan.size)
            self._each(self._pending, self._move)
            self.report.settle()
        finally:
            self._blobs.shutdown(cancel_futures=True)
            self.report.seconds = time.monotonic() - begun

    def _each(self, things: Iterable[T], act: Callable[[T], None]) -> None:
        """Call `act` for each thing, several at once. Raise the first exception."""
        pool = ThreadPoolExecutor(self.jobs, "image")
        try:
            for _ in in_pool(pool, act, things, 2 * self.jobs):
                pass
        except BaseException:
            self.stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _look(self, tagged: Tagged) -> None:
        """Find out whether the tag must be sent, and which of its blobs are missing."""
        target, line = tagged.target, ReportLine.of(tagged)
        with self.report.failing(line):
            if reason := selection.refused(target, tagged.tag):
                raise TransferError(reason)
            self.remote.still_there()
            image = self.v2images.get(ImageId.parse(tagged.image_id))
            line.describe(image, self.media_type)
            if self._is_there(tagged, image):
                line.state = "there"
                self._plan.note(target, _blobs(image))
            else:
                self._plan.add(target, _blobs(image))
                line.state = "would move"
                if not self.report.dry_run:
                    with self._lock:
                        kept = image if len(self._pending) < _MOST_KEPT else None
                        self._pending.append(_Pending(tagged, line, kept))
                    return
        self.report.finish(line, tagged)

    def _move(self, pending: _Pending) -> None:
        tagged, line, image = pending.tagged, pending.line, pending.image
        pending.image = None
        with self.report.failing(line):
            self.remote.still_there()
            self._put(tagged, image or self.v2images.get(ImageId.parse(tagged.image_id)))
            line.state = "moved"
        self.report.finish(line, tagged)

    def _is_there(self, tagged: Tagged, image: V2Image) -> bool:
        """Return whether the target has the tag, with the same image and all of its blobs."""
        digest = image.manifests[self.media_type].digest
        if self.remote.manifest_digest(tagged.target, tagged.tag, self.media_type) != digest:
            return False
        if self.journal.tag(tagged.target, tagged.tag) == (str(image.id), digest):
            return True
        blobs = [*_blobs(image), (image.config_digest, len(image.config))]
        return all(self.remote.has_blob(tagged.target, *blob) for blob in blobs)

    def _put(self, tagged: Tagged, image: V2Image) -> None:
        manifest = image.manifests[self.media_type]
        waiting = [
            self._blob(tagged.target, SourceLayerBlob(self.images, image_id, metadata))
            for image_id, metadata in _unique(image)
        ]
        for future in waiting:
            future.result()
        with self._config_lock(tagged.target, image.config_digest):
            if not self._has(tagged.target, image.config_digest, len(image.config)):
                self.remote.put_blob(tagged.target, image.config, image.config_digest)
                self.journal.note_blob(tagged.target, image.config_digest)
            self.remote.put_manifest(tagged.target, tagged.tag, self.media_type, manifest.data)
            self._verify(tagged, manifest.digest)
        self.journal.note_tag(tagged.target, tagged.tag, str(image.id), manifest.digest)

    def _config_lock(self, repository: str, config_digest: str) -> threading.Lock:
        """Return the lock to hold while a configuration and a manifest that names it are put.

        Distribution 2.8 rewrites the link of a blob in place each time the blob is put. At that
        moment it refuses a manifest that names the blob, for another tag of the same image.
        """
        with self._lock:
            return self._putting.setdefault((repository, config_digest), threading.Lock())

    def _verify(self, tagged: Tagged, digest: str) -> None:
        """Read the manifest back and compare its digest. The registry itself has verified the blobs."""
        data = self.remote.get_manifest(tagged.target, tagged.tag, self.media_type)
        if digest_of(data) != digest:
            raise TransferError(
                f"{tagged.target}:{tagged.tag} reads back as {digest_of(data)}, not as {digest}"
            )

    def _has(self, repository: str, digest: str, size: int) -> bool:
        there = self.remote.has_blob(repository, digest, size)
        if there:
            self.report.count(present=1)
        return there

    # -- layers ------------------------------------------------------------------

    def _blob(self, repository: str, blob: SourceLayerBlob) -> Future[None]:
        """Start to send a layer, unless another image has started it. Return its future."""
        with self._lock:
            place = repository, blob.digest
            future = self._sent.get(place)
            if future is None:
                first = self._first.get(blob.digest)
                future = self._blobs.submit(self._send, repository, blob, first)
                self._sent[place] = future
                if first is None:
                    self._first[blob.digest] = repository, future
            return future

    def _send(
        self, repository: str, blob: SourceLayerBlob, first: tuple[str, Future[None]] | None
    ) -> None:
        others = self._plan.holders(blob.digest)
        if first is not None:
            # The pool got it before this one, so it runs or has run: no deadlock.
            other, future = first
            if future.exception() is None:
                others.insert(0, other)
        missing = self._plan.is_missing(repository, blob.digest)
        if missing or not self._has(repository, blob.digest, blob.size):
            self._transfer(repository, blob, [other for other in others if other != repository])
        self.journal.note_blob(repository, blob.digest)
        self.report.progress.layer()

    def _transfer(self, repository: str, blob: SourceLayerBlob, others: Sequence[str]) -> None:
        location = self.journal.upload(repository, blob.digest)
        resumed = location is not None
        if location is None:
            if others:
                location = self.remote.mount(repository, blob.digest, others[0])
                if location is None:
                    self.report.count(mounted=1)
                    return
            else:
                location = self.remote.begin(repository)

        def keep(location: str) -> None:
            self.journal.note_upload(repository, blob.digest, location)

        keep(location)
        self._plan.sends(blob.digest, blob.size)
        self.remote.upload(repository, blob, location, self._on_bytes, keep, resumed=resumed)
        self.report.count(uploaded=1)

    def _on_bytes(self, count: int) -> None:
        if self.stop.is_set():
            raise Interrupted
        self.report.bytes(count)
        self.report.count(sent=count)


def _blobs(image: V2Image) -> list[tuple[str, int]]:
    """Return digest and size of each distinct layer."""
    return [(metadata.digest, metadata.size) for _, metadata in _unique(image)]


def _unique(image: V2Image) -> list[tuple[ImageId, LayerDescriptor]]:
    """Return the distinct layers, the first of equal ones."""
    found: dict[str, tuple[ImageId, LayerDescriptor]] = {}
    for image_id, metadata in image.layers:
        found.setdefault(metadata.digest, (image_id, metadata))
    return list(found.values())
