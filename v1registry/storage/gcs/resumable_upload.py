"""A resumable upload of unknown length to GCS, with one buffer.

The library's own upload sends a whole chunk again, and fails if the store has kept a part of it. This
one follows cloud.google.com/storage/docs/performing-resumable-uploads: a response with status 308
says by `Range` how many bytes the store has (none without it). So does the response to an empty PUT
with `bytes */*`.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

import google_crc32c

from v1registry.storage import Buffer
from v1registry.storage.errors import NotFound, StorageError, Unavailable
from v1registry.storage.gcs.client import FAILURES, GcsClient, attempt
from v1registry.storage.parts import PartBuffer, split

CHUNK_UNIT = 256 * 1024  # each chunk but the last is a multiple of this
_ONE_REQUEST = 1024 * 1024  # bytes up to which one simple request is used
_RANGE = re.compile(r"bytes=0-([0-9]+)")
_BREAKS = 3  # failures in a row without progress until the upload fails


class ResumableUpload:
    """The session of one upload. Call `send` for each chunk in order, and `finish` for the last."""

    def __init__(
        self, client: GcsClient, bucket: str, name: str, properties: Mapping[str, str]
    ) -> None:
        self._client = client
        self._name = name
        self._kept = 0  # bytes that the store is known to have
        self._unsure = False  # whether the store may have more, because a response was lost
        self._sum = google_crc32c.Checksum()
        query = urlencode({"uploadType": "resumable", "name": name})
        address = f"/upload/storage/v1/b/{bucket}/o?{query}"
        answer = attempt(name, lambda: client.send("POST", address, json=dict(properties)))
        self._session: str = answer.headers.get("Location", "")

    def send(self, chunk: memoryview) -> None:
        """Send a chunk of a multiple of CHUNK_UNIT bytes; return when the store has it."""
        self._add(chunk)
        self._send(chunk, None)

    def finish(self, chunk: memoryview) -> None:
        """Send the last chunk, which may be empty; return when the object is stored."""
        self._add(chunk)
        found = self._send(chunk, self._kept + len(chunk))
        wanted = base64.b64encode(self._sum.digest()).decode()
        if found.get("crc32c", wanted) != wanted:
            raise Unavailable(f"{self._name}: GCS received other bytes than were sent")

    def cancel(self) -> None:
        """Cancel the session; if that fails, it expires within a week."""
        with contextlib.suppress(StorageError, *FAILURES):
            self._client.send_named("DELETE", self._session)

    def _add(self, chunk: memoryview) -> None:
        for at in range(0, len(chunk), CHUNK_UNIT):
            self._sum.update(bytes(chunk[at : at + CHUNK_UNIT]))  # it accepts immutable bytes only

    def _send(self, chunk: memoryview, total: int | None) -> dict[str, Any]:
        """Send until the store has the chunk; return the object's metadata if this completes it."""
        start, end, breaks = self._kept, self._kept + len(chunk), 0
        while True:
            before = self._kept
            try:
                answer = attempt(self._name, partial(self._step, chunk, start, total))
            except NotFound as error:
                raise Unavailable(f"{self._name}: the session of the upload has expired") from error
            if answer.status_code != 308:
                return dict(answer.json())
            found = _RANGE.fullmatch(answer.headers.get("Range", ""))
            self._kept = int(found[1]) + 1 if found else 0
            if not start <= self._kept <= end:
                raise Unavailable(f"{self._name}: the upload is at byte {self._kept}, not {end}")
            if self._kept == end and total is None:
                return {}
            breaks = 0 if self._kept > before else breaks + 1
            if breaks >= _BREAKS:
                raise Unavailable(f"{self._name}: the upload stands still at byte {self._kept}")

    def _step(self, chunk: memoryview, start: int, total: int | None) -> Any:
        """Send the rest of the chunk; after a failure, ask how much of it the store has."""
        unsure, self._unsure = self._unsure, True
        rest = memoryview(b"") if unsure else chunk[self._kept - start :]
        span = f"{self._kept}-{self._kept + len(rest) - 1}" if rest else "*"
        size = "*" if unsure or total is None else total
        answer = self._client.send_named(
            "PUT", self._session, data=rest, headers={"Content-Range": f"bytes {span}/{size}"}
        )
        self._unsure = False
        return answer


def send_pieces(
    pieces: Iterable[Buffer],
    buffer: PartBuffer,
    put: Callable[[bytes], None],
    begin: Callable[[], ResumableUpload],
) -> None:
    """Send all pieces: by one `put` if they are few bytes, else in chunks in a session of `begin`.

    If it fails, cancel the session.
    """
    upload: ResumableUpload | None = None
    try:
        for part, is_last in split(pieces, buffer):
            with contextlib.closing(part), part.data() as data:
                if is_last and upload is None and part.size <= _ONE_REQUEST:
                    put(bytes(data))
                    return
                upload = upload or begin()
                (upload.finish if is_last else upload.send)(memoryview(data))
    except BaseException:
        if upload is not None:
            upload.cancel()
        raise
