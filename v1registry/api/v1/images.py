"""Endpoints that read complete images and receive new ones (protocol-v1.md sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, request

from v1registry.api import answers, body, layer_response
from v1registry.api.layer_response import BINARY
from v1registry.api.services import RegistryServices
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Image
from v1registry.lib.names import ImageId


def blueprint(services: RegistryServices) -> Blueprint:
    routes = Blueprint("images", __name__, url_prefix="/v1/images/<image_id>")
    limits = services.config.limits
    authorizer = services.authorizer

    def serve(name: str, content: Callable[[Image], bytes]) -> None:
        """Serve a file about complete images; 304 to a conditional request: images never change."""

        @authorizer.requires_read
        def view(image_id: ImageId) -> Response:
            image = services.images.get(image_id)
            if "If-Modified-Since" in request.headers:
                return _not_modified(services)
            headers = _checksums(image) if name == "json" else []
            private = authorizer.is_private_answer()
            return answers.immutable(content(image), headers=headers, private=private)

        routes.add_url_rule(f"/{name}", f"get_{name}", view)

    serve("json", lambda image: image.json)
    serve("ancestry", lambda image: image.ancestry)
    serve("files", services.listings.files)
    serve("diff", services.listings.diff)

    @routes.put("/json")
    @authorizer.requires_push
    def put_json(image_id: ImageId) -> Response:
        services.uploads.put_json(image_id, body.small(limits), authorizer.sender())
        return answers.uncached_json()

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


def _checksums(image: Image) -> answers.Headers:
    headers = [("X-Docker-Checksum-Payload", sum) for sum in image.checksums]
    if image.size is not None:
        headers.append(("X-Docker-Size", str(image.size)))
    return headers


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
