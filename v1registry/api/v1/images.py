"""Endpoints that read complete images and receive new ones (protocol-v1.md sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flask import Blueprint, Response, request

from v1registry.api import answers, body, layer_response
from v1registry.api.layer_response import BINARY
from v1registry.api.services import RegistryServices
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId


def blueprint(services: RegistryServices) -> Blueprint:
    routes = Blueprint("images", __name__, url_prefix="/v1/images/<image_id>")
    limits = services.config.limits
    authorizer = services.authorizer

    @routes.get("/json")
    @authorizer.requires_read
    def get_json(image_id: ImageId) -> Response:
        image = services.images.get(image_id)
        headers = [("X-Docker-Checksum-Payload", sum) for sum in image.checksums]
        if image.size is not None:
            headers.append(("X-Docker-Size", str(image.size)))
        return _unless_known(services, lambda: image.json, headers)

    @routes.put("/json")
    @authorizer.requires_push
    def put_json(image_id: ImageId) -> Response:
        services.uploads.put_json(image_id, body.small(limits), authorizer.sender())
        return answers.uncached_json()

    @routes.get("/ancestry")
    @authorizer.requires_read
    def get_ancestry(image_id: ImageId) -> Response:
        image = services.images.get(image_id)
        return _unless_known(services, lambda: image.ancestry)

    @routes.get("/files")
    @authorizer.requires_read
    def get_files(image_id: ImageId) -> Response:
        image = services.images.get(image_id)
        return _unless_known(services, lambda: services.listings.files(image))

    @routes.get("/diff")
    @authorizer.requires_read
    def get_diff(image_id: ImageId) -> Response:
        image = services.images.get(image_id)
        return _unless_known(services, lambda: services.listings.diff(image))

    @routes.get("/layer")
    @authorizer.requires_read
    def get_layer(image_id: ImageId) -> Response:
        image = services.images.get(image_id)
        if "If-Modified-Since" in request.headers:
            return _not_modified(services)
        if image.size is None:
            raise Failure(*errors.IMAGE_NOT_FOUND)
        style = _Style(authorizer.is_private_answer())
        asked = request.headers.get("Range")
        return layer_response.layer(services, image, image.size, style, asked)

    @routes.put("/layer")
    @authorizer.requires_push
    def put_layer(image_id: ImageId) -> Response:
        pieces = body.layer(limits.layer, limits.upload_seconds)
        services.uploads.put_layer(image_id, pieces, authorizer.sender())
        return answers.uncached_json()

    @routes.put("/checksum")
    @authorizer.requires_push
    def put_checksum(image_id: ImageId) -> Response:
        is_new = services.uploads.put_checksum(
            image_id,
            request.headers.get("X-Docker-Checksum-Payload"),
            request.headers.get("X-Docker-Checksum"),
            authorizer.sender(),
        )
        if is_new and services.v2.pushed is not None:
            services.v2.pushed.add(image_id)
        return answers.uncached_json()

    return routes


def _unless_known(
    services: RegistryServices, read: Callable[[], bytes], headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """Return a response with `read()`, or 304 to a conditional request: images never change."""
    if "If-Modified-Since" in request.headers:
        return _not_modified(services)
    return answers.immutable(
        read(), headers=headers, private=services.authorizer.is_private_answer()
    )


def _not_modified(services: RegistryServices) -> Response:
    return answers.immutable(b"", status=304, private=services.authorizer.is_private_answer())


class _Style(layer_response.Style):
    def sent(self, content: object, status: int, headers: answers.Headers) -> Response:
        return answers.immutable(content, BINARY, status, headers, private=self._private)

    def past_the_end(self, size: int) -> Response:
        # Engines that resume a complete layer succeed only on this: 416 and Content-Length 0
        # (protocol-v1.md section 7.2).
        answer = answers.uncached_json(True, 416, [("Content-Range", f"bytes */{size}")])
        answer.set_data(b"")
        return answer

    def redirect(self, url: str) -> Response:
        return answers.uncached_json(True, 302, [("Location", url)])
