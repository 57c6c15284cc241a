"""The report of a transfer, with the result of each image, and its progress."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from v1registry.lib.errors import Failure
from v1registry.lib.oci.images import UnservableImage, V2Image
from v1registry.lib.units import human
from v1registry.storage.errors import StorageError
from v1registry.transfer.errors import Aborted, TransferError
from v1registry.transfer.progress import TransferProgress
from v1registry.transfer.selection import Tagged

FAILURES = (TransferError, UnservableImage, StorageError, Failure)  # of one image

State = Literal["moved", "exported", "imported", "there", "would move", "failed"]
Done = Literal["moved", "exported", "imported"]

MOVED, FAILED_SOME = 0, 3  # exit statuses; 1 and 2 are used by all commands


@dataclass(slots=True)
class ReportLine:
    """The result of one tag. `image_id` (as Docker shows it) and `manifest` are digests; None if it failed."""

    repository: str
    tag: str
    target: str
    v1_id: str
    state: State
    image_id: str | None = None
    manifest: str | None = None
    media_type: str | None = None
    layers: int = 0
    notes: tuple[str, ...] = ()
    reason: str | None = None

    @classmethod
    def of(cls, tagged: Tagged) -> ReportLine:
        """Return the line of a tag of the store before its transfer."""
        name = str(tagged.repository)
        return cls(name, tagged.tag, tagged.target, tagged.image_id, "failed")

    def describe(self, image: V2Image, media_type: str) -> None:
        """Note the image, and its manifest of this media type."""
        self.image_id, self.manifest = image.config_digest, image.manifests[media_type].digest
        self.media_type, self.layers, self.notes = media_type, len(image.layers), image.notes

    @property
    def subject(self) -> str:
        """The repository, its tag and the v1 id, as far as known."""
        name = f"{self.repository}:{self.tag}" if self.tag else self.repository
        return f"{name} ({self.v1_id})" if self.v1_id else name


@dataclass(slots=True)
class TransferReport:
    """The results of a transfer, and its progress. Threads may share it.

    `sent` is in bytes; `uploaded`, `mounted` and `present` count blobs. `done` is the state of a tag
    that the command has transferred.
    """

    to: str
    dry_run: bool = False
    done: Done = "moved"
    lines: list[ReportLine] = field(default_factory=list)
    sent: int = 0
    uploaded: int = 0
    mounted: int = 0
    present: int = 0
    seconds: float = 0.0
    progress: TransferProgress = field(default_factory=TransferProgress)
    _expected: int = field(default=0, init=False)  # bytes that the progress expects
    _moved: int = field(default=0, init=False)  # bytes that were reported to the progress
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def count(
        self, *, uploaded: int = 0, mounted: int = 0, present: int = 0, sent: int = 0
    ) -> None:
        """Add to the counts."""
        with self._lock:
            self.uploaded += uploaded
            self.mounted += mounted
            self.present += present
            self.sent += sent

    def expect(self, count: int) -> None:
        """Expect `count` more bytes; negative: fewer."""
        with self._lock:
            self._expected += count
        self.progress.expect(count)

    def bytes(self, count: int) -> None:
        """Note that `count` bytes were moved; negative: they must be moved again."""
        with self._lock:
            self._moved += count
        self.progress.bytes(count)

    def settle(self) -> None:
        """Expect no more bytes: images failed, or other clients pushed their blobs."""
        if left := self._expected - self._moved:
            self.expect(-left)

    @contextlib.contextmanager
    def failing(self, line: ReportLine) -> Iterator[None]:
        """Note an expected failure of an image in its line. Raise Aborted."""
        try:
            yield
        except Aborted:
            raise
        except FAILURES as error:
            line.state, line.reason = "failed", str(error)

    def finish(self, line: ReportLine, name: object) -> None:
        """Add the line of an image, and show it."""
        with self._lock:
            self.lines.append(line)
        words = f"{line.state} {name}"
        self.progress.image(f"{words}: {line.reason}" if line.reason else words)

    def left_out(self, repository: str, tag: str, reason: str) -> None:
        """Add a tag of the store that cannot be read, or with an empty `tag`, a repository."""
        self.lines.append(ReportLine(repository, tag, repository, "", "failed", reason=reason))

    @property
    def failed(self) -> list[ReportLine]:
        return [line for line in self.lines if line.state == "failed"]

    @property
    def exit_status(self) -> int:
        return FAILED_SOME if self.failed else MOVED

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data with the members `images` and `totals`."""
        lines = sorted(self.lines, key=lambda line: (line.repository, line.tag))
        totals = {state: sum(line.state == state for line in lines) for state in self._states}
        return {
            "to": self.to,
            "dry_run": self.dry_run,
            "images": [asdict(line) for line in lines],
            "totals": {
                **{state.replace(" ", "_"): count for state, count in totals.items()},
                "bytes_sent": self.sent,
                "blobs_uploaded": self.uploaded,
                "blobs_mounted": self.mounted,
                "blobs_present": self.present,
                "seconds": round(self.seconds, 1),
            },
        }

    def write(self, out: Callable[[str], None]) -> None:
        """Write the report as text, the failed images last."""
        done = [line for line in self.lines if line.state != "failed"]
        for line in sorted(done, key=lambda line: (line.repository, line.tag)):
            there = f" -> {line.target}:{line.tag}" if line.target != line.repository else ""
            out(f"{line.state:10}  {line.repository}:{line.tag}{there}")
            out(f"{'':10}  v1 id {line.v1_id}")
            if line.image_id:
                out(f"{'':10}  image id {line.image_id}, manifest {line.manifest}")
            for note in line.notes:
                out(f"{'':10}  note: {note}")
        for line in self.failed:
            out(f"failed      {line.subject}: {line.reason}")
        out(self.summary())

    def summary(self) -> str:
        counts = [
            f"{count} {state}"
            for state in self._states
            if (count := sum(line.state == state for line in self.lines))
        ]
        blobs = f"{self.uploaded} {'sent' if self.done == 'moved' else 'written'}"
        if self.dry_run:
            blobs = f"{self.uploaded} to send"
        mounted = f" {self.mounted} mounted," if self.done == "moved" else ""
        return (
            f"images: {', '.join(counts) or 'none'}; blobs: {blobs} ({human(self.sent)}),"
            f"{mounted} {self.present} were there; {self.seconds:.1f} s"
        )

    @property
    def _states(self) -> tuple[State, ...]:
        return _STATES[self.done]


_STATES: dict[Done, tuple[State, ...]] = {
    "moved": ("moved", "there", "would move", "failed"),
    "exported": ("exported", "failed"),
    "imported": ("imported", "there", "failed"),
}
