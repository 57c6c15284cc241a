"""Uploads of blobs to a v2 registry (OCI distribution specification, "Pushing blobs")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from v1registry.storage.origins import Insecure, joined
from v1registry.transfer.errors import Gone, Rejected, TransferError, Unreachable
from v1registry.transfer.http import TRIES, Http

CHUNK = 32 * 1024 * 1024  # bytes of a blob that are sent in one request
_PIECE = 64 * 1024  # bytes in one call of send, to which the timeout applies
TYPE = "application/octet-stream"
_SMALLER = (4 * 1024 * 1024, 1024 * 1024)  # further sizes, for registries that refuse CHUNK
TAKEN = (200, 201, 202, 204)  # the specification says 201 or 202; some registries answer otherwise
_LOST = (404, 416)  # the registry has lost the upload, or has another number of bytes
_TOO_LARGE = (413, 416)  # ghcr.io answers 416 to a range of more than 4 MiB
_NO_PATCH = (405, 501)


class BlobSource(Protocol):
    """A blob to send. Its bytes can be read several times, from any start."""

    @property
    def digest(self) -> str: ...

    @property
    def size(self) -> int: ...

    def pieces(self, start: int) -> Iterator[bytes]: ...


OnBytes = Callable[[int], None]  # bytes sent since the last call; negative: they must be sent again


class Uploads:
    """Sends blobs to the registry behind `http`, in requests of `chunk` bytes.

    `has_blob(repository, digest, size)` returns whether the registry has a blob.
    """

    def __init__(self, http: Http, chunk: int, has_blob: Callable[[str, str, int], bool]) -> None:
        self._http = http
        self._chunk = chunk
        self._has_blob = has_blob
        self._whole = False  # send each blob in one PUT, because the registry refuses PATCH

    def begin(self, repository: str) -> str:
        """Begin an upload, and return its location."""
        path = f"/v2/{repository}/blobs/uploads/"
        return location_of(
            self._http.send("POST", path, scopes=scopes_of(repository), good=TAKEN, body=b"")
        )

    def upload(
        self,
        repository: str,
        source: BlobSource,
        location: str,
        on_bytes: OnBytes,
        keep: Callable[[str], None] = lambda location: None,
        *,
        resumed: bool = False,
    ) -> None:
        """Send the blob in chunks to the upload at `location`, and resume it after an error.

        (Distribution 2.8 loses an upload if a chunk is interrupted; then the upload starts again.)
        If the registry refuses a chunk as too large, use smaller chunks for all further blobs, and
        at last one PUT for each blob.

        `resumed`: an earlier run began the upload. `keep` is called with each new location.
        Raise Rejected, Unreachable, or what reading the source raises.
        """
        start = breaks = furthest = 0
        if resumed:
            start, location = self._resume(repository, location)
            on_bytes(start)
        while start < source.size and not self._whole:
            sent = _Range(source, start, min(start + self._chunk, source.size), on_bytes)
            try:
                location = self._patch(repository, location, sent)
                start = sent.stop
                if start > furthest:  # otherwise it only repeats lost bytes
                    furthest, breaks = start, 0
            except (Unreachable, Rejected) as error:
                status = getattr(error, "status", 0)
                breaks += 1
                if breaks >= TRIES or status not in (0, *_LOST, *_TOO_LARGE, *_NO_PATCH):
                    raise
                on_bytes(-sent.sent)
                before = start
                start, location = self._resume(repository, location)
                on_bytes(start - before)
                if start == before and self._use_smaller_requests(status, len(sent)):
                    self._http.notify(f"{error}; using smaller requests")
                    breaks = 0
                else:
                    self._http.notify(f"{error}; retrying")
                    self._http.back_off(breaks)
            keep(location)
        if start < source.size:
            on_bytes(-start)
            self._put(repository, source, on_bytes)
        else:
            self._finish(repository, location, source)

    def _use_smaller_requests(self, status: int, size: int) -> bool:
        """Choose smaller requests after `status` for one of `size` bytes; return whether there are any."""
        if status in _TOO_LARGE and size > _SMALLER[-1]:
            self._chunk = min(self._chunk, next(less for less in _SMALLER if less < size))
        elif status in (*_TOO_LARGE, *_NO_PATCH):
            self._whole = True
        else:
            return False
        return True

    def _resume(self, repository: str, location: str) -> tuple[int, str]:
        """Return how many bytes have arrived, and the location; begin a new upload if it is lost."""
        try:
            return self._reached(repository, location)
        except Rejected:
            return 0, self.begin(repository)

    def _patch(self, repository: str, location: str, sent: _Range) -> str:
        headers = {
            "Content-Type": TYPE,
            "Content-Length": str(sent.stop - sent.start),
            "Content-Range": f"{sent.start}-{sent.stop - 1}",
        }
        response = self._http.send(
            "PATCH",
            location,
            scopes=scopes_of(repository),
            good=TAKEN,
            headers=headers,
            body=sent.open,
            tries=1,  # a retry must start where the registry stopped receiving
        )
        return location_of(response, location)

    def _reached(self, repository: str, location: str) -> tuple[int, str]:
        """Ask how many bytes of an upload have arrived; return them and the location."""
        response = self._http.send("GET", location, scopes=scopes_of(repository), good=(204, 202))
        _, _, last = response.headers.get("Range", "0-0").removeprefix("bytes=").partition("-")
        if not last.isdigit():
            raise Rejected(f"{repository}: the registry reports an upload with the range {last!r}")
        # `0-0` means one byte or none. If it means one, a start at 0 is refused with 416.
        reached = int(last) + 1 if int(last) else 0
        return reached, location_of(response, location)

    def _put(self, repository: str, source: BlobSource, on_bytes: OnBytes) -> None:
        """Send the whole blob in one PUT. Each retry uses a new upload."""
        whole = _Range(source, 0, source.size, on_bytes)
        for tried in range(1, TRIES + 1):
            try:
                self._finish(repository, self.begin(repository), source, whole)
                return
            except Rejected as error:
                if error.status != 413:
                    raise
                text = f"{error}: a proxy limits the size of requests: raise that limit"
                raise Rejected(text, 413) from None
            except Unreachable as error:
                if tried == TRIES or isinstance(error, Gone):
                    raise
                self._http.notify(f"{error}; retrying")
                self._http.back_off(tried)

    def _finish(
        self, repository: str, location: str, source: BlobSource, whole: _Range | None = None
    ) -> None:
        """End an upload. With `whole`, this request also sends the whole blob."""
        headers = {"Content-Type": TYPE, "Content-Length": str(len(whole) if whole else 0)}
        try:
            response = self._http.send(
                "PUT",
                with_digest(location, source.digest),
                scopes=scopes_of(repository),
                good=TAKEN,
                headers=headers,
                body=whole.open if whole else b"",
                tries=1 if whole else TRIES,
            )
        except Rejected:
            # an earlier attempt may have succeeded although its answer was lost
            if self._has_blob(repository, source.digest, source.size):
                return
            raise
        stored_digest = response.headers.get("Docker-Content-Digest", source.digest)
        if stored_digest != source.digest:
            raise Rejected(
                f"{repository}: sent {source.digest}, but the registry has {stored_digest}"
            )


class _Range:
    """A part of a source as the body of a request. `sent` counts the bytes read."""

    def __init__(self, source: BlobSource, start: int, stop: int, on_bytes: OnBytes) -> None:
        self._source = source
        self.start, self.stop = start, stop
        self._on_bytes = on_bytes
        self.sent = 0

    def open(self) -> Any:
        """Start again, and return an iterable body for requests."""
        self._on_bytes(-self.sent)
        self.sent = 0
        return self

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[memoryview]:
        left = len(self)
        for piece in self._source.pieces(self.start):
            view = memoryview(piece)[:left]
            left -= len(view)
            for at in range(0, len(view), _PIECE):
                part = view[at : at + _PIECE]
                self.sent += len(part)
                self._on_bytes(len(part))
                yield part
            if not left:
                return
        raise TransferError(f"{self._source.digest} ended {left} bytes too early")


def scopes_of(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull,push",)


def with_digest(location: str, digest: str) -> str:
    mark = "&" if urlsplit(location).query else "?"
    return f"{location}{mark}{urlencode({'digest': digest})}"


def location_of(response: Any, before: str = "") -> str:
    """Return the location of an upload as an absolute URL. Raise Rejected."""
    location: str = response.headers.get("Location") or before
    if not location:
        raise Rejected("the registry did not return the location of the upload")
    try:
        return joined(response.url, location)
    except Insecure as error:
        raise Rejected(f"the registry redirects to {error}") from None
