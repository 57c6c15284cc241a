"""Repositories and their tags (protocol-v1.md section 2)."""

from __future__ import annotations

import contextlib

from flask import Response, request

from v1registry.api import answers, body, paths
from v1registry.api.services import RegistryServices
from v1registry.api.v1 import image_lists
from v1registry.api.v1.repository_routes import Action, Actions
from v1registry.lib import errors
from v1registry.lib.auth.rights import Access
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag

# -- tags ---------------------------------------------------------------------


def _get_tags(parts: RegistryServices, target: paths.V1Target) -> Response:
    return answers.ordinary(parts.repositories.tags(target.repository))


def _get_tag(parts: RegistryServices, target: paths.V1Target) -> Response:
    return answers.ordinary(parts.repositories.tag(target.repository, _existing(target)))


def _put_tag(parts: RegistryServices, target: paths.V1Target) -> Response:
    tag = parts.repositories.writable(target.repository, target.tag or "")
    agent = request.headers.get("User-Agent", "")
    data = body.small(parts.config.limits)
    image_lists.admit(parts, target.repository)
    parts.repositories.set_tag(target.repository, tag, data, agent, parts.door.sender())
    try:
        image_lists.admit(parts, target.repository)
    except Failure as failure:
        if failure.status == errors.REPOSITORY_DELETED[0]:  # between the two
            _take_back(parts, target.repository, tag)
        raise
    return answers.ordinary()


def _take_back(parts: RegistryServices, repository: RepositoryName, tag: Tag) -> None:
    """Delete a tag that was written while its repository was deleted, if it is still there."""
    with contextlib.suppress(Failure):
        parts.repositories.delete_tag(repository, tag)


def _delete_tag(parts: RegistryServices, target: paths.V1Target) -> Response:
    parts.repositories.delete_tag(target.repository, _existing(target))
    return answers.ordinary()


def _get_tag_metadata(parts: RegistryServices, target: paths.V1Target) -> Response:
    return answers.ordinary(parts.repositories.metadata(target.repository, _existing(target)))


def _existing(target: paths.V1Target) -> Tag:
    return Tag.parse_existing(target.tag or "")


# -- the repository -------------------------------------------------------------


def _get_metadata(parts: RegistryServices, target: paths.V1Target) -> Response:
    return answers.ordinary(parts.repositories.metadata(target.repository))


def _get_properties(parts: RegistryServices, target: paths.V1Target) -> Response:
    private = parts.repositories.is_private(target.repository)
    return answers.ordinary({"access": "private" if private else "public"})


def _put_properties(parts: RegistryServices, target: paths.V1Target) -> Response:
    value = body.parsed(parts, errors.DATA_INVALID)
    if not isinstance(value, dict) or "access" not in value:
        raise Failure(*errors.DATA_INVALID)
    if value["access"] in ("public", "private"):  # 0.x ignores other values
        private = value["access"] == "private"
        if parts.index is not None:  # first, since it decides who may pull
            image_lists.admit(parts, target.repository)
            parts.index.catalog.flag(target.repository, is_private=private)
        parts.repositories.set_private(target.repository, private)
    return answers.ordinary()


def _delete_repository(parts: RegistryServices, target: paths.V1Target) -> Response:
    if parts.index is not None and target.action == "repository" and image_lists.wants_token():
        return image_lists.begin_deletion(parts, target)  # asked as an index
    # The row is deleted first, so that no push that goes on can bring the repository back.
    known = parts.index is not None and parts.index.catalog.delete(target.repository)
    try:
        parts.repositories.delete(target.repository)
    except Failure as failure:
        if not (known and failure.status == errors.REPOSITORY_NOT_FOUND[0]):
            raise
    return answers.ordinary()


_PULL, _PUSH, _DELETE = Access.PULL, Access.PUSH, Access.DELETE
_NO_TAG = errors.TAG_NOT_FOUND

ACTIONS: Actions = {
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
    "repository": {"DELETE": Action(_delete_repository, _DELETE)},
}

#: Where an index has roles, who may see a repository is not for everybody to say who pushes to it.
WITH_INDEX: Actions = {"properties": {"PUT": Action(_put_properties, _DELETE)}}
