"""Images: reading finished ones, pushing new ones (protocol-v1.md sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flask import Blueprint, Response, request

from v1registry.api import answers, body, layer_response
from v1registry.api.services import RegistryServices
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId

_BINARY = "application/octet-stream"


def blueprint(parts: RegistryServices) -> Blueprint:
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
        parts.uploads.put_json(image_id, body.small(limits), door.sender())
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
        asked = request.headers.get("Range")
        return layer_response.layer(parts, image, image.size, _style(parts), asked)

    @routes.put("/layer")
    @door.pushes
    def put_layer(image_id: ImageId) -> Response:
        pieces = body.layer(limits.layer, limits.upload_seconds)
        parts.uploads.put_layer(image_id, pieces, door.sender())
        return answers.ordinary()

    @routes.put("/checksum")
    @door.pushes
    def put_checksum(image_id: ImageId) -> Response:
        is_new = parts.uploads.put_checksum(
            image_id,
            request.headers.get("X-Docker-Checksum-Payload"),
            request.headers.get("X-Docker-Checksum"),
            door.sender(),
        )
        if is_new and parts.v2.pushed is not None:
            parts.v2.pushed.add(image_id)
        return answers.ordinary()

    return routes


def _unless_known(
    parts: RegistryServices, read: Callable[[], bytes], headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """The answer with what `read()` returns, or 304 for who has it: it cannot have changed."""
    if "If-Modified-Since" in request.headers:
        return _not_modified(parts)
    return answers.immutable(read(), headers=headers, private=parts.door.is_private_answer())


def _not_modified(parts: RegistryServices) -> Response:
    return answers.immutable(b"", status=304, private=parts.door.is_private_answer())


def _style(parts: RegistryServices) -> layer_response.Style:
    private = parts.door.is_private_answer()

    def sent(content: object, status: int, headers: answers.Headers) -> Response:
        return answers.immutable(content, _BINARY, status, headers, private=private)

    def past_the_end(size: int) -> Response:
        # Resuming engines end cleanly on just this: 416, empty, Content-Length 0 (section 7.2).
        answer = answers.ordinary(True, 416, [("Content-Range", f"bytes */{size}")])
        answer.set_data(b"")
        return answer

    def fetched(path: str, url: str) -> Response:
        return answers.fetched(path, url, _BINARY, private=private)

    def redirect(url: str) -> Response:
        return answers.ordinary(True, 302, [("Location", url)])

    return layer_response.Style(sent, past_the_end, fetched, redirect)
