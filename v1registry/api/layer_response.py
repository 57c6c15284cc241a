"""A stored layer on its way out, by the shortest way there is: nginx, the store itself, the kernel,
pieces. v1 and v2 send the same bytes and differ in how their answers look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flask import Response, request

from v1registry.api import ranges
from v1registry.api.answers import Headers
from v1registry.api.services import RegistryServices
from v1registry.lib.images.images import Image
from v1registry.lib.images.verified_stream import checked
from v1registry.server.send import FileRange
from v1registry.storage import Blob, keys
from v1registry.storage.errors import CorruptObject

Range = tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Style:
    """How the answers of one protocol look.

    `sent(content, status, headers)` is a success; `past_the_end(size)` answers a range that begins
    there; `fetched(path, url)` lets nginx fetch the layer, `redirect(url)` the client. `suffix`:
    whether ranges of the last bytes count.
    """

    sent: Callable[[object, int, Headers], Response]
    past_the_end: Callable[[int], Response]
    fetched: Callable[[str, str], Response]
    redirect: Callable[[str], Response]
    suffix: bool = False

    def wanted(self, asked: str | None, size: int) -> Range:
        """What the header `asked` wants of `size` bytes. Raises `ranges.Unsatisfiable`."""
        return ranges.parse(asked, size, suffix=self.suffix)


def layer(
    parts: RegistryServices, image: Image, size: int, style: Style, asked: str | None
) -> Response:
    """The layer, `size` bytes, or the range of it that the header `asked` wants.

    Raise Failure 404 if it is gone.
    """
    try:
        wanted = style.wanted(asked, size)
        elsewhere = _elsewhere(parts, image, size, style, wanted)
        if elsewhere is not None:
            return elsewhere
        blob = parts.images.open_layer(image)
        sent = False
        try:
            _agree(parts, image, size, blob.size)
            pieces = None
            if parts.config.verify_layers and style.wanted(asked, blob.size) is None:
                pieces = checked(blob.pieces(), image)
            answer = _ours(blob, style, style.wanted(asked, blob.size), pieces)
            sent = request.method != "HEAD"  # and the answer closes it
            return answer
        finally:
            if not sent:
                blob.close()
    except ranges.Unsatisfiable:
        # what others answer to this is not what engines take for the end
        return style.past_the_end(size)


def part(style: Style, content: object, wanted: Range, size: int) -> Response:
    """The answer whose content is what is `wanted` of `size` bytes."""
    start, stop = wanted or (0, size)
    if request.method == "HEAD":
        content = ()  # of bytes, their length would be told
    headers = [("Accept-Ranges", "bytes")]
    if not isinstance(content, bytes):
        headers.append(("Content-Length", str(stop - start)))
    if wanted:
        headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
    return style.sent(content, 206 if wanted else 200, headers)


def _elsewhere(
    parts: RegistryServices, image: Image, size: int, style: Style, wanted: Range
) -> Response | None:
    """Let nginx send the file, or the client fetch it from the store, if so configured."""
    key = keys.image(image.id, "layer")
    own, store = parts.storage.accel_path(key), parts.config.nginx_x_accel_store
    if own is not None:
        return style.sent(b"", 200, [("X-Accel-Redirect", own)])
    if not store and not parts.config.storage_redirect:
        return None
    url = parts.storage.url(key)
    if url is None:
        return None
    if request.method == "HEAD":  # a signed URL is good for one method, GET
        return part(style, (), wanted, size)
    if store:
        return style.fetched(f"{store.removesuffix('/')}/{key}", url)
    return style.redirect(url)


def _agree(parts: RegistryServices, image: Image, known: int, told: int) -> None:
    """A length that is told with the bytes, and is another than we know of, must be told twice: it
    may have been damaged on its way, and then the layer would end early, or late.
    """
    if told != known:
        key = keys.image(image.id, "layer")
        again = parts.storage.stat(key).size
        if again != told:
            raise CorruptObject(f"{key}: has {known}, {told} or {again} bytes")


def _ours(
    blob: Blob, style: Style, wanted: Range, pieces: Iterator[bytes] | None = None
) -> Response:
    """`pieces`: all bytes, by way of a check."""
    start, stop = wanted or (0, blob.size)
    content: object = _Pieces(blob, pieces or blob.pieces(start, stop))
    if blob.file is not None and pieces is None:
        content = FileRange(blob.file, start, stop - start)
    return part(style, content, wanted, blob.size)


class _Pieces:
    """Pieces of a blob as an iterable that closes the blob."""

    def __init__(self, blob: Blob, pieces: Iterator[bytes]) -> None:
        self._blob = blob
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._blob.close()
