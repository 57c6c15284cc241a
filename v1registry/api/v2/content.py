"""Manifests and blobs."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from flask import Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from v1registry.api import layer_response, ranges
from v1registry.api.answers import Headers
from v1registry.api.layer_response import BINARY
from v1registry.api.ocierrors import OciFailure
from v1registry.api.services import RegistryServices
from v1registry.api.v2 import answers
from v1registry.lib.layers.decompress import DecompressedLayer
from v1registry.lib.names import Digest, RepositoryName, Tag
from v1registry.lib.oci.convert import OCI, SCHEMA2
from v1registry.lib.oci.images import Manifest, UnservableImage
from v1registry.lib.oci.lookup import StoredLayerBlob
from v1registry.server.send import is_client_gone
from v1registry.storage import Blob

_PIECE = 1 << 20
_MOST_SKIPPED = 16 << 20  # bytes that may be decompressed and dropped before a range begins
_LONGEST = 2000  # characters of an Accept header that are parsed
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+"


def manifest(
    services: RegistryServices, repository: RepositoryName, reference: Digest | Tag
) -> Response:
    """Return the manifest of a digest, or that of a tag in the form that the client prefers."""
    by_digest = isinstance(reference, Digest)
    if isinstance(reference, Digest):
        found = services.v2.lookup.manifest(repository, reference)
    else:
        found = _tagged(services, repository, reference)
    return answers.manifest(
        found, by_digest=by_digest, private=services.authorizer.is_private_answer()
    )


def _tagged(services: RegistryServices, repository: RepositoryName, tag: Tag) -> Manifest:
    wanted = _preferred(request.environ.get("HTTP_ACCEPT", "")[:_LONGEST])
    try:
        return services.v2.lookup.tagged(repository, tag).manifests[wanted]
    except UnservableImage as reason:
        text = f"The image of this tag cannot be shown over v2: {reason}"
        raise OciFailure(404, "MANIFEST_UNKNOWN", text) from None


@lru_cache(maxsize=128)
def _preferred(header: str) -> str:
    """Return the preferred media type: schema 2, as engines convert v1 images, unless OCI is."""
    accept = parse_accept_header(header, MIMEAccept)
    schema2, oci = accept.quality(SCHEMA2), accept.quality(OCI)
    if schema2 == oci == 0 and accept and all(type.startswith(_SCHEMA1) for type, _ in accept):
        text = "Manifests are served as schema 2 or OCI, and the client accepts only schema 1"
        raise OciFailure(404, "MANIFEST_UNKNOWN", text)
    return OCI if oci > schema2 else SCHEMA2


def blob(services: RegistryServices, repository: RepositoryName, digest: Digest) -> Response:
    """Return a layer or a config, or a range of it."""
    found = services.v2.lookup.blob(repository, digest)
    style = _Style(digest, services.authorizer.is_private_answer())
    if answers.is_known(digest):
        return style.sent((), 304, [])
    asked = request.headers.get("Range")
    if request.headers.get("If-Range", f'"{digest}"') != f'"{digest}"':
        asked = None  # the client holds part of another object, so it needs all bytes
    if isinstance(found, StoredLayerBlob) and found.metadata.as_stored:
        return layer_response.layer(services, found.image, found.metadata.size, style, asked)
    size = found.metadata.size if isinstance(found, StoredLayerBlob) else len(found)
    try:
        wanted = style.wanted(asked, size)
    except ranges.Unsatisfiable:
        return style.past_the_end(size)
    if not isinstance(found, StoredLayerBlob):
        start, stop = wanted or (0, size)
        return layer_response.part(style, found[start:stop], wanted, size)
    if wanted and wanted[0] > _MOST_SKIPPED:
        wanted = None  # a server may ignore any range (RFC 9110, 14.2)
    if request.method == "HEAD":
        return layer_response.part(style, (), wanted, size)
    layer = services.images.open_layer(found.image)
    unpacked = _Unpacked(layer, wanted or (0, size), services.v2.unpack, request.environ)
    return layer_response.part(style, unpacked, wanted, size)


class _Style(layer_response.Style):
    suffix = True

    def __init__(self, digest: Digest, private: bool) -> None:
        super().__init__(private)
        self._digest = digest

    def sent(self, content: object, status: int, headers: Headers) -> Response:
        digest, private = self._digest, self._private
        return answers.blob(content, digest, BINARY, status, headers, private=private)

    def past_the_end(self, size: int) -> Response:
        failure = OciFailure(416, "RANGE_INVALID", f"The blob has {size} bytes")
        failure.headers["Content-Range"] = f"bytes */{size}"
        raise failure

    def redirect(self, url: str) -> Response:
        answer = answers.blob(b"", self._digest, BINARY, 307, [("Location", url)], private=True)
        answer.headers["Cache-Control"] = "no-store"  # the URL expires soon
        return answer


class _Unpacked:
    """A range of a layer as plain tar, if v2 clients cannot read the stored compression.

    `run` calls a function in the thread pool, so that decompression does not block the event loop.
    """

    def __init__(
        self,
        layer: Blob,
        wanted: tuple[int, int],
        run: Callable[..., Any],
        environ: dict[str, Any],
    ) -> None:
        self._layer = layer
        self._start, self._stop = wanted
        self._run = run
        self._environ = environ

    def __iter__(self) -> Iterator[bytes]:
        source = DecompressedLayer(self._layer, None)  # no limit: the layer scan read all of it
        at = 0
        while at < self._stop:
            # Sending notices that a client is gone, but only once there are bytes to send.
            if at <= self._start and is_client_gone(self._environ):
                raise BrokenPipeError(errno.EPIPE, "the client is gone")
            end = self._start if at < self._start else self._stop
            piece: bytes = self._run(source.some, min(_PIECE, end - at))
            if not piece:
                return  # the client sees fewer bytes than Content-Length says
            at += len(piece)
            if at > self._start:
                yield piece

    def close(self) -> None:
        self._layer.close()
