"""Responses with a stored layer. v1 and v2 send the same bytes in responses of a different form.

A layer is sent by the first possible way: nginx, a redirect to the store, sendfile, pieces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from flask import Response, request

from v1registry.api import ranges
from v1registry.api.answers import Headers, accel_redirect
from v1registry.api.services import RegistryServices
from v1registry.lib.images.images import Image, verified
from v1registry.server.send import FileRange
from v1registry.storage import Blob

BINARY = "application/octet-stream"

Range = tuple[int, int] | None


class Style(ABC):
    """The form of one protocol's responses. `private`: shared caches must not keep them."""

    suffix = False  # whether ranges of the last bytes are supported

    def __init__(self, private: bool) -> None:
        self._private = private

    @abstractmethod
    def sent(self, content: object, status: int, headers: Headers) -> Response:
        """Return a success."""

    @abstractmethod
    def past_the_end(self, size: int) -> Response:
        """Return or raise the response to a range that begins after the last byte."""

    @abstractmethod
    def redirect(self, url: str) -> Response:
        """Return the response by which the client fetches the layer from the store."""

    def fetched(self, path: str, url: str) -> Response:
        """Return the response by which nginx fetches the layer from the store."""
        return accel_redirect(path, url, BINARY, private=self._private)

    def wanted(self, asked: str | None, size: int) -> Range:
        """Return the range of `size` bytes that the header `asked` names. Raise Unsatisfiable."""
        return ranges.parse(asked, size, suffix=self.suffix)


def layer(
    services: RegistryServices, image: Image, size: int, style: Style, asked: str | None
) -> Response:
    """Return the response with the layer of `size` bytes, or the range that the header `asked` names.

    Raise Failure 404 if the store has no such layer any more.
    """
    try:
        wanted = style.wanted(asked, size)
        elsewhere = _delegate(services, image, size, style, wanted)
        if elsewhere is not None:
            return elsewhere
        blob = services.images.open_layer(image, size)
        sent = False
        try:
            pieces = None
            if services.config.verify_layers and style.wanted(asked, blob.size) is None:
                pieces = verified(blob.pieces(), image)
            answer = _send_blob(blob, style, style.wanted(asked, blob.size), pieces)
            sent = request.method != "HEAD"  # then the response closes the blob
            return answer
        finally:
            if not sent:
                blob.close()
    except ranges.Unsatisfiable:
        # Engines recognize the end of a layer only by our own response to such a range.
        return style.past_the_end(size)


def part(style: Style, content: object, wanted: Range, size: int) -> Response:
    """Return the response whose content is the `wanted` range of `size` bytes."""
    start, stop = wanted or (0, size)
    if request.method == "HEAD":
        content = ()  # from bytes, Content-Length would be computed
    headers = [("Accept-Ranges", "bytes")]
    if not isinstance(content, bytes):
        headers.append(("Content-Length", str(stop - start)))
    if wanted:
        headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
    return style.sent(content, 206 if wanted else 200, headers)


def _delegate(
    services: RegistryServices, image: Image, size: int, style: Style, wanted: Range
) -> Response | None:
    """Return a response by which nginx or the store sends the layer, if so configured; else None."""
    key = services.images.layer_key(image)
    own, store = services.storage.accel_path(key), services.config.nginx_x_accel_store
    if own is not None:
        return style.sent(b"", 200, [("X-Accel-Redirect", own)])
    if not store and not services.config.storage_redirect:
        return None
    url = services.storage.url(key)
    if url is None:
        return None
    if request.method == "HEAD":  # a signed URL is valid for GET only
        return part(style, (), wanted, size)
    if store:
        return style.fetched(f"{store.removesuffix('/')}/{key}", url)
    return style.redirect(url)


def _send_blob(
    blob: Blob, style: Style, wanted: Range, pieces: Iterator[bytes] | None = None
) -> Response:
    """Return the response that sends a range of the blob; or `pieces`, which verify all bytes."""
    start, stop = wanted or (0, blob.size)
    content: object = _Pieces(blob, pieces or blob.pieces(start, stop))
    if blob.file is not None and pieces is None:
        content = FileRange(blob.file, start, stop - start)
    return part(style, content, wanted, blob.size)


class _Pieces:
    """An iterable of a blob's pieces. Its `close` closes the blob."""

    def __init__(self, blob: Blob, pieces: Iterator[bytes]) -> None:
        self._blob = blob
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._blob.close()
