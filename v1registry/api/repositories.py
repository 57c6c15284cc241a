"""Repositories, their tags, and in standalone mode what an index would answer (sections 2, 2.1)."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from v1registry.api import answers, body, paths
from v1registry.api.parts import Parts
from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag

Handler = Callable[[Parts, paths.Target], Response]


def blueprint(parts: Parts) -> Blueprint:
    routes = Blueprint("repositories", __name__)

    @routes.route(
        "/v1/repositories/<any_path:path>", methods=["GET", "PUT", "DELETE", "POST", "PATCH"]
    )
    def repository(path: str) -> Response:
        target = paths.parse(path)
        handlers = _HANDLERS[target.action]
        method = "GET" if request.method == "HEAD" else request.method
        if method not in handlers:
            raise MethodNotAllowed(valid_methods=list(handlers))
        return handlers[method](parts, target)

    return routes


# -- tags ---------------------------------------------------------------------


def _get_tags(parts: Parts, target: paths.Target) -> Response:
    return answers.ordinary(parts.repositories.tags(target.repository))


def _get_tag(parts: Parts, target: paths.Target) -> Response:
    return answers.ordinary(parts.repositories.tag(target.repository, _existing(target)))


def _put_tag(parts: Parts, target: paths.Target) -> Response:
    tag = Tag.parse(target.tag or "")
    agent = request.headers.get("User-Agent", "")
    data = body.small(parts.config.limits.json)
    parts.repositories.set_tag(target.repository, tag, data, agent)
    return answers.ordinary()


def _delete_tag(parts: Parts, target: paths.Target) -> Response:
    parts.repositories.delete_tag(target.repository, _existing(target))
    return answers.ordinary()


def _get_tag_metadata(parts: Parts, target: paths.Target) -> Response:
    return answers.ordinary(parts.repositories.metadata(target.repository, _existing(target)))


def _existing(target: paths.Target) -> Tag:
    return Tag.parse_existing(target.tag or "")


# -- the repository -------------------------------------------------------------


def _get_metadata(parts: Parts, target: paths.Target) -> Response:
    return answers.ordinary(parts.repositories.metadata(target.repository))


def _get_properties(parts: Parts, target: paths.Target) -> Response:
    private = parts.repositories.is_private(target.repository)
    return answers.ordinary({"access": "private" if private else "public"})


def _put_properties(parts: Parts, target: paths.Target) -> Response:
    value = documents.parse(body.small(parts.config.limits.json), errors.DATA_INVALID)
    if not isinstance(value, dict) or "access" not in value:
        raise Failure(*errors.DATA_INVALID)
    if value["access"] in ("public", "private"):  # 0.x ignores other values
        parts.repositories.set_private(target.repository, value["access"] == "private")
    return answers.ordinary()


def _delete_repository(parts: Parts, target: paths.Target) -> Response:
    parts.repositories.delete(target.repository)
    return answers.ordinary()


# -- the index ------------------------------------------------------------------


def _put_repository(parts: Parts, target: paths.Target) -> Response:
    parts.image_lists.update(target.repository, body.small(parts.config.limits.json))
    return answers.ordinary("", headers=_token(parts, target.repository, "write"))


def _put_images(parts: Parts, target: paths.Target) -> Response:
    parts.image_lists.update(target.repository, body.small(parts.config.limits.json))
    return answers.ordinary(status=204, headers=_token(parts, target.repository, "write"))


def _get_images(parts: Parts, target: paths.Target) -> Response:
    images = parts.image_lists.get(target.repository)
    return answers.ordinary(images, headers=_token(parts, target.repository, "read"))


def _delete_images(parts: Parts, target: paths.Target) -> Response:
    """No effect, as in 0.x: engines end a repository's deletion with it."""
    return answers.ordinary(status=204, headers=_token(parts, target.repository, "delete"))


def _put_auth(_parts: Parts, _target: paths.Target) -> Response:
    return answers.ordinary("OK")


def _token(parts: Parts, repository: RepositoryName, access: str) -> answers.Headers:
    """The three headers that engines go on with; standalone never checks the signature."""
    signature = base64.b32encode(secrets.token_bytes(10)).decode("ascii")
    token = f'Token signature={signature},repository="{repository}",access={access}'
    endpoints = parts.config.registry_endpoints or request.environ.get("HTTP_HOST", "")
    return [
        ("X-Docker-Token", token),
        ("WWW-Authenticate", token),
        ("X-Docker-Endpoints", endpoints),
    ]


_HANDLERS: dict[str, dict[str, Handler]] = {
    "tags": {"GET": _get_tags, "DELETE": _delete_repository},
    "tag": {"GET": _get_tag, "PUT": _put_tag, "DELETE": _delete_tag},
    "tag_json": {"GET": _get_tag_metadata},
    "json": {"GET": _get_metadata},
    "properties": {"GET": _get_properties, "PUT": _put_properties},
    "repository": {"PUT": _put_repository, "DELETE": _delete_repository},
    "images": {"GET": _get_images, "PUT": _put_images, "DELETE": _delete_images},
    "auth": {"PUT": _put_auth},
}
