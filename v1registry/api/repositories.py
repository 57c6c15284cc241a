"""Repositories, their tags, and in standalone mode what an index would answer (sections 2, 2.1)."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import NamedTuple

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from v1registry.api import answers, body, paths
from v1registry.api.door import mark
from v1registry.api.parts import Parts
from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag
from v1registry.lib.rights import Access

Handler = Callable[[Parts, paths.Target], Response]


class Action(NamedTuple):
    """A handler, and the access to the repository that it takes; None: none.

    `hidden` is the answer to who may not even know whether there is such a repository.
    """

    handler: Handler
    access: Access | None
    hidden: errors.Text = errors.REPOSITORY_NOT_FOUND


def blueprint(parts: Parts) -> Blueprint:
    routes = Blueprint("repositories", __name__)

    @routes.route(
        "/v1/repositories/<any_path:path>", methods=["GET", "PUT", "DELETE", "POST", "PATCH"]
    )
    def repository(path: str) -> Response:
        door = parts.door
        target = paths.parse(path)
        actions = ACTIONS[target.action]
        method = "GET" if request.method == "HEAD" else request.method
        action = actions.get(method)
        if action is None:
            raise MethodNotAllowed(valid_methods=list(actions))
        if action.access is not None:
            door.repository(target.repository, action.access, action.hidden)
        return action.handler(parts, target)

    mark(repository, "repository by ACTIONS")
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
    parts.repositories.set_tag(target.repository, tag, data, agent, parts.door.sender())
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


_PULL, _PUSH, _DELETE = Access.PULL, Access.PUSH, Access.DELETE
_NO_TAG, _NO_IMAGES = errors.TAG_NOT_FOUND, errors.IMAGES_NOT_FOUND

ACTIONS: dict[str, dict[str, Action]] = {
    "tags": {"GET": Action(_get_tags, _PULL), "DELETE": Action(_delete_repository, _DELETE)},
    "tag": {
        "GET": Action(_get_tag, _PULL, _NO_TAG),
        "PUT": Action(_put_tag, _PUSH),
        "DELETE": Action(_delete_tag, _DELETE),
    },
    "tag_json": {"GET": Action(_get_tag_metadata, _PULL, _NO_TAG)},
    "json": {"GET": Action(_get_metadata, _PULL)},
    "properties": {
        "GET": Action(_get_properties, _PULL),
        "PUT": Action(_put_properties, _PUSH),
    },
    "repository": {
        "PUT": Action(_put_repository, _PUSH),
        "DELETE": Action(_delete_repository, _DELETE),
    },
    "images": {
        "GET": Action(_get_images, _PULL, _NO_IMAGES),
        "PUT": Action(_put_images, _PUSH),
        "DELETE": Action(_delete_images, _DELETE),
    },
    "auth": {"PUT": Action(_put_auth, None)},
}
