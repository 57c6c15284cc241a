"""A resumable upload to GCS: of unknown length, from one buffer, resumed where it broke.

The library's own one sends a chunk again as a whole and gives up when the store has kept a part of
it. What is done here is described in cloud.google.com/storage/docs/performing-resumable-uploads: a
308 tells by `Range` how much is kept (nothing without it), and so does the answer to an empty PUT
for `bytes */*`.
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
from v1registry.storage.parts import Part, PartBuffer

CHUNK_UNIT = 256 * 1024  # chunks are multiples of this, but the last
_ONE_REQUEST = 1024 * 1024  # bytes up to which one request is enough; it copies them
_RANGE = re.compile(r"bytes=0-([0-9]+)")
_BREAKS = 3  # in a row, without a byte kept between them, until we give up


class ResumableUpload:
    """One upload's session. `send` chunks in their order, the last one by `finish`."""

    def __init__(
        self, get: Callable[[], GcsClient], bucket: str, name: str, properties: Mapping[str, str]
    ) -> None:
        self._get = get
        self._name = name
        self._kept = 0  # bytes that the store has
        self._unsure = False  # whether it may have more of them, since an answer was lost
        self._sum = google_crc32c.Checksum()
        query = urlencode({"uploadType": "resumable", "name": name})
        address = f"/upload/storage/v1/b/{bucket}/o?{query}"
        answer = attempt(name, lambda: get().send("POST", address, json=dict(properties)))
        self._session: str = answer.headers["Location"]

    def send(self, chunk: memoryview) -> None:
        """Send a chunk of a multiple of CHUNK_UNIT bytes; it is kept when this returns."""
        self._add(chunk)
        self._send(chunk, None)

    def finish(self, chunk: memoryview) -> None:
        """Send the last chunk, which may be empty. The object is there when this returns."""
        self._add(chunk)
        found = self._send(chunk, self._kept + len(chunk))
        wanted = base64.b64encode(self._sum.digest()).decode()
        if found.get("crc32c", wanted) != wanted:
            raise Unavailable(f"{self._name}: was received with other bytes than were sent")

    def cancel(self) -> None:
        """Forget the session; if that fails, the store does so within a week."""
        with contextlib.suppress(StorageError, *FAILURES):
            self._get().send_named("DELETE", self._session)

    def _add(self, chunk: memoryview) -> None:
        for at in range(0, len(chunk), CHUNK_UNIT):
            self._sum.update(bytes(chunk[at : at + CHUNK_UNIT]))  # it takes nothing that can change

    def _send(self, chunk: memoryview, total: int | None) -> dict[str, Any]:
        """Send until all is kept. The object's metadata, if this completes it."""
        start, end, breaks = self._kept, self._kept + len(chunk), 0
        while True:
            before = self._kept
            try:
                answer = attempt(self._name, partial(self._step, chunk, start, total))
            except NotFound as error:
                raise Unavailable(f"{self._name}: the upload's session is gone") from error
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
        """Send the rest of the chunk; or, after a failure, ask how much of it came through."""
        unsure, self._unsure = self._unsure, True
        rest = memoryview(b"") if unsure else chunk[self._kept - start :]
        span = f"{self._kept}-{self._kept + len(rest) - 1}" if rest else "*"
        size = "*" if unsure or total is None else total
        answer = self._get().send_named(
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
    """Send all: few bytes by `put`, more by chunks of the buffer's part size in what `begin` makes.

    If it fails, no session is left.
    """
    upload: ResumableUpload | None = None
    part = Part(buffer)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                if part.size == buffer.part_size:
                    upload = upload or begin()
                    with part.data() as data:
                        upload.send(memoryview(data))
                    part.close()
                    part = Part(buffer)
                taken = view[: buffer.part_size - part.size]
                part.write(taken)
                view = view[len(taken) :]
        with part.data() as data:
            if upload is None and part.size <= _ONE_REQUEST:
                put(bytes(data))
            else:
                upload = upload or begin()
                upload.finish(memoryview(data))
    except BaseException:
        if upload is not None:
            upload.cancel()
        raise
    finally:
        part.close()
