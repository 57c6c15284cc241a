"""A v2 registry as the place where images go to (OCI distribution specification, "Push").

Repositories are named as there (`team/app`), blobs and manifests by digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from v1registry.storage.origins import Insecure, joined
from v1registry.transfer.errors import Rejected, TransferError, Unreachable
from v1registry.transfer.http import TRIES, Http

CHUNK = 32 * 1024 * 1024  # bytes of a blob that are sent in one request
_PIECE = 64 * 1024  # bytes that must have been taken before it counts as standing still
_TYPE = "application/octet-stream"
_LOST = (404, 416)  # an upload that the registry has forgotten, or has otherwise than we think


class Source(Protocol):
    """A blob to send: its bytes from `start` on, read as often as need be."""

    @property
    def digest(self) -> str: ...

    @property
    def size(self) -> int: ...

    def pieces(self, start: int) -> Iterator[bytes]: ...


Told = Callable[[int], None]  # bytes that went on their way since the last call; negative: again


class Remote:
    """Blobs and manifests of the registry behind `http`."""

    def __init__(self, http: Http, *, chunk: int = CHUNK) -> None:
        self._http = http
        self._chunk = chunk

    def check(self) -> None:
        """Raise Rejected or Unreachable unless a v2 registry answers. A 401 is an answer, too."""
        response = self._http.send("GET", "/v2/", good=(200, 404), tries=2)
        if response.status_code == 404:
            raise Rejected(f"{self._http.url} is no v2 registry: /v2/ answers 404", 404)

    def still_there(self) -> None:
        """Raise Gone if the registry has stopped to answer, before more work is done for it."""
        self._http.still_there()

    def tell(self, told: Callable[[str], None]) -> None:
        """Call `told` with what is tried again and waited for."""
        self._http.tell = told

    def has_blob(self, repository: str, digest: str, size: int) -> bool:
        """Whether the blob is there, whole."""
        path = f"/v2/{repository}/blobs/{digest}"
        response = self._http.send("HEAD", path, scopes=_scopes(repository), good=(200, 404))
        length = response.headers.get("Content-Length")
        return response.status_code == 200 and (length is None or length == str(size))

    def mount(self, repository: str, digest: str, other: str) -> str | None:
        """Take the blob over from another repository there; None if that is done.

        Else the registry has begun an upload instead, and its location is returned.
        """
        query = urlencode({"mount": digest, "from": other})
        path = f"/v2/{repository}/blobs/uploads/?{query}"
        scopes = (*_scopes(repository), f"repository:{other}:pull")
        try:
            response = self._http.send("POST", path, scopes=scopes, good=(201, 202), body=b"")
        except Rejected as error:
            if error.status in (401, 403, 404, 405):  # not from that one: then by an upload
                return self.begin(repository)
            raise
        return None if response.status_code == 201 else _location(response)

    def begin(self, repository: str) -> str:
        """Begin an upload; return its location."""
        path = f"/v2/{repository}/blobs/uploads/"
        return _location(
            self._http.send("POST", path, scopes=_scopes(repository), good=(202,), body=b"")
        )

    def upload(
        self,
        repository: str,
        source: Source,
        location: str,
        told: Told,
        keep: Callable[[str], None] = lambda location: None,
        *,
        resumed: bool = False,
    ) -> None:
        """Send the blob in chunks to the upload at `location`, going on where it breaks off.

        (Distribution 2.8 forgets an upload that breaks off within a chunk: it begins anew.)

        `resumed`: another process began it. `keep` is told each new location.
        Raise Rejected, Unreachable, or what reading the source raises.
        """
        start = breaks = furthest = 0
        if resumed:
            start, location = self._resume(repository, location)
            told(start)
        while start < source.size:
            sent = _Range(source, start, min(start + self._chunk, source.size), told)
            try:
                location = self._patch(repository, location, sent)
                start = sent.stop
                if start > furthest:  # else it only catches up with what was lost
                    furthest, breaks = start, 0
            except (Unreachable, Rejected) as error:
                breaks += 1
                if breaks >= TRIES or getattr(error, "status", _LOST[0]) not in _LOST:
                    raise
                told(-sent.sent)
                self._http.tell(f"{error}; tried again")
                self._http.back_off(breaks)
                before = start
                start, location = self._resume(repository, location)
                told(start - before)
            keep(location)
        self._finish(repository, location, source)

    def _resume(self, repository: str, location: str) -> tuple[int, str]:
        """How much of an upload has arrived, and where it goes on; begun anew if it is gone."""
        try:
            return self._reached(repository, location)
        except Rejected as error:
            if error.status not in _LOST:
                raise
            return 0, self.begin(repository)

    def _patch(self, repository: str, location: str, sent: _Range) -> str:
        headers = {
            "Content-Type": _TYPE,
            "Content-Length": str(sent.stop - sent.start),
            "Content-Range": f"{sent.start}-{sent.stop - 1}",
        }
        response = self._http.send(
            "PATCH",
            location,
            scopes=_scopes(repository),
            good=(202,),
            headers=headers,
            body=sent.open,
            tries=1,  # what is sent again begins where it broke off
        )
        return _location(response)

    def _reached(self, repository: str, location: str) -> tuple[int, str]:
        """How many bytes of an upload have arrived, and where it goes on."""
        response = self._http.send("GET", location, scopes=_scopes(repository), good=(204, 202))
        _, _, last = response.headers.get("Range", "0-0").removeprefix("bytes=").partition("-")
        if not last.isdigit():
            raise Rejected(f"{repository}: the registry tells of an upload that it has {last!r}")
        # `0-0` is said of one byte and of none; sent from 0, the first is refused by 416
        reached = int(last) + 1 if int(last) else 0
        return reached, _location(response, location)

    def _finish(self, repository: str, location: str, source: Source) -> None:
        mark = "&" if urlsplit(location).query else "?"
        path = f"{location}{mark}{urlencode({'digest': source.digest})}"
        headers = {"Content-Type": _TYPE, "Content-Length": "0"}
        scopes = _scopes(repository)
        try:
            response = self._http.send(
                "PUT", path, scopes=scopes, good=(201,), headers=headers, body=b""
            )
        except Rejected:
            # it may have been done by a try whose answer was lost
            if self.has_blob(repository, source.digest, source.size):
                return
            raise
        told = response.headers.get("Docker-Content-Digest", source.digest)
        if told != source.digest:
            raise Rejected(f"{repository}: sent {source.digest}, and the registry has {told}")

    def put_blob(self, repository: str, data: bytes, digest: str) -> None:
        """Send a small blob in one request."""
        location = self.begin(repository)
        mark = "&" if urlsplit(location).query else "?"
        path = f"{location}{mark}{urlencode({'digest': digest})}"
        headers = {"Content-Type": _TYPE}
        try:
            self._http.send(
                "PUT", path, scopes=_scopes(repository), good=(201,), headers=headers, body=data
            )
        except Rejected:
            if not self.has_blob(repository, digest, len(data)):
                raise

    def manifest_digest(self, repository: str, reference: str, media_type: str) -> str | None:
        """The digest of the manifest behind a tag or digest; None if there is none."""
        response = self._http.send(
            "HEAD",
            _manifest(repository, reference),
            scopes=_scopes(repository),
            good=(200, 404),
            headers={"Accept": media_type},
        )
        if response.status_code == 404:
            return None
        return response.headers.get("Docker-Content-Digest")

    def get_manifest(self, repository: str, reference: str, media_type: str) -> bytes:
        """The manifest's bytes."""
        response = self._http.send(
            "GET",
            _manifest(repository, reference),
            scopes=_scopes(repository),
            headers={"Accept": media_type},
        )
        return response.content

    def put_manifest(self, repository: str, reference: str, media_type: str, data: bytes) -> None:
        """Put a manifest under a tag or a digest."""
        self._http.send(
            "PUT",
            _manifest(repository, reference),
            scopes=_scopes(repository),
            good=(201,),
            headers={"Content-Type": media_type},
            body=data,
        )


class _Range:
    """A part of a source as a request's body; `sent` counts what was read of it."""

    def __init__(self, source: Source, start: int, stop: int, told: Told) -> None:
        self._source = source
        self.start, self.stop = start, stop
        self._told = told
        self.sent = 0

    def open(self) -> Any:
        """An iterable for requests, which sends it with the length that the headers say."""
        self._told(-self.sent)
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
                self._told(len(part))
                yield part
            if not left:
                return
        raise TransferError(f"{self._source.digest} ended {left} bytes too early")


def _scopes(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull,push",)


def _manifest(repository: str, reference: str) -> str:
    return f"/v2/{repository}/manifests/{quote(reference, safe=':')}"


def _location(response: Any, before: str = "") -> str:
    """Where an upload goes on: absolute, whatever the registry wrote."""
    location: str = response.headers.get("Location") or before
    if not location:
        raise Rejected("the registry does not tell where the upload is to go")
    try:
        return joined(response.url, location)
    except Insecure as error:
        raise Rejected(f"the registry sends us to {error}") from None
