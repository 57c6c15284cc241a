"""Images: reading finished ones, pushing new ones (protocol-v1.md sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from flask import Blueprint, Response, request

from v1registry.api import answers, body, ranges
from v1registry.api.parts import Parts
from v1registry.edge.send import FileRange
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.images import Image
from v1registry.lib.names import ImageId
from v1registry.storage import Blob, keys

_BINARY = "application/octet-stream"


def blueprint(parts: Parts) -> Blueprint:
    routes = Blueprint("images", __name__, url_prefix="/v1/images/<image_id>")
    limits = parts.config.limits
    door = parts.door

    @routes.get("/json")
    @door.reads
    def get_json(image_id: ImageId) -> Response:
        image = parts.images.get(image_id)
        headers = [("X-Docker-Checksum-Payload", sum) for sum in image.checksums]
        if image.size is not None:
            headers.append(("X-Docker-Size", str(image.size)))
        return _unless_known(parts, lambda: image.json, headers)

    @routes.put("/json")
    @door.pushes
    def put_json(image_id: ImageId) -> Response:
        parts.uploads.put_json(image_id, body.small(limits.json), door.sender())
        return answers.ordinary()

    @routes.get("/ancestry")
    @door.reads
    def get_ancestry(image_id: ImageId) -> Response:
        image = parts.images.get(image_id)
        return _unless_known(parts, lambda: image.ancestry)

    @routes.get("/files")
    @door.reads
    def get_files(image_id: ImageId) -> Response:
        image = parts.images.get(image_id)
        return _unless_known(parts, lambda: parts.listings.files(image))

    @routes.get("/diff")
    @door.reads
    def get_diff(image_id: ImageId) -> Response:
        image = parts.images.get(image_id)
        return _unless_known(parts, lambda: parts.listings.diff(image))

    @routes.get("/layer")
    @door.reads
    def get_layer(image_id: ImageId) -> Response:
        image = parts.images.get(image_id)
        if "If-Modified-Since" in request.headers:
            return _not_modified(parts)
        if image.size is None:
            raise Failure(*errors.IMAGE_NOT_FOUND)
        return _elsewhere(parts, image, image.size) or _layer(parts, image)

    @routes.put("/layer")
    @door.pushes
    def put_layer(image_id: ImageId) -> Response:
        pieces = body.layer(limits.layer, limits.upload_seconds)
        parts.uploads.put_layer(image_id, pieces, door.sender())
        return answers.ordinary()

    @routes.put("/checksum")
    @door.pushes
    def put_checksum(image_id: ImageId) -> Response:
        parts.uploads.put_checksum(
            image_id,
            request.headers.get("X-Docker-Checksum-Payload"),
            request.headers.get("X-Docker-Checksum"),
            door.sender(),
        )
        return answers.ordinary()

    return routes


def _unless_known(
    parts: Parts, read: Callable[[], bytes], headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """The answer with what `read()` returns, or 304 for who has it: it cannot have changed."""
    if "If-Modified-Since" in request.headers:
        return _not_modified(parts)
    return answers.immutable(read(), headers=headers, private=parts.door.is_private_answer())


def _not_modified(parts: Parts) -> Response:
    return answers.immutable(b"", status=304, private=parts.door.is_private_answer())


def _elsewhere(parts: Parts, image: Image, size: int) -> Response | None:
    """Let nginx send the file, or the client fetch it from the store, if so configured."""
    key = keys.image(image.id, "layer")
    own, store = parts.storage.accel_path(key), parts.config.nginx_x_accel_store
    url = None
    if own is None and (store or parts.config.storage_redirect):
        url = parts.storage.url(key)
    if own is None and url is None:
        return None
    try:
        wanted = ranges.parse(request.headers.get("Range"), size)
    except ranges.Unsatisfiable:
        return _past_the_end(size)  # others' answers to this are not what engines take for the end
    private = parts.door.is_private_answer()
    if own is not None:
        headers = [("X-Accel-Redirect", own)]
        return answers.immutable(b"", _BINARY, headers=headers, private=private)
    if request.method == "HEAD":  # a signed URL is good for one method, GET
        return _answer(parts, (), wanted, size)
    if store:
        path = f"{store.removesuffix('/')}/{key}"
        return answers.fetched(path, str(url), _BINARY, private=private)
    return answers.ordinary(True, 302, [("Location", str(url))])


def _layer(parts: Parts, image: Image) -> Response:
    blob = parts.images.open_layer(image)
    try:
        wanted = ranges.parse(request.headers.get("Range"), blob.size)
    except ranges.Unsatisfiable:
        blob.close()
        return _past_the_end(blob.size)
    start, stop = wanted or (0, blob.size)
    if request.method == "HEAD":
        blob.close()
        content: object = ()  # bytes would set Content-Length anew
    elif blob.file is not None:
        content = FileRange(blob.file, start, stop - start)
    else:
        content = _Pieces(blob, start, stop)
    return _answer(parts, content, wanted, blob.size)


def _answer(parts: Parts, content: object, wanted: tuple[int, int] | None, size: int) -> Response:
    start, stop = wanted or (0, size)
    headers = [("Accept-Ranges", "bytes"), ("Content-Length", str(stop - start))]
    if wanted:
        headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
    status = 206 if wanted else 200
    return answers.immutable(
        content, _BINARY, status, headers, private=parts.door.is_private_answer()
    )


def _past_the_end(size: int) -> Response:
    # Resuming engines end cleanly on just this: 416, empty, Content-Length 0 (section 7.2).
    answer = answers.ordinary(True, 416, [("Content-Range", f"bytes */{size}")])
    answer.set_data(b"")
    return answer


class _Pieces:
    """A blob's range as an iterable that closes the blob."""

    def __init__(self, blob: Blob, start: int, stop: int) -> None:
        self._blob = blob
        self._pieces = blob.pieces(start, stop)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._blob.close()
