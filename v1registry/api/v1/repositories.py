"""Repositories and their tags (protocol-v1.md section 2)."""

from __future__ import annotations

from flask import Response, request

from v1registry.api import body, changes, paths
from v1registry.api.services import RegistryServices
from v1registry.api.v1 import image_lists
from v1registry.api.v1.repository_routes import Action, Actions
from v1registry.lib import errors
from v1registry.lib.auth.rights import Access
from v1registry.lib.errors import Failure
from v1registry.lib.names import Tag

# -- tags ---------------------------------------------------------------------


def _get_tags(services: RegistryServices, target: paths.V1Target) -> object:
    return services.repositories.tags(target.repository)


def _get_tag(services: RegistryServices, target: paths.V1Target) -> object:
    return services.repositories.tag(target.repository, _existing(target))


def _put_tag(services: RegistryServices, target: paths.V1Target) -> None:
    tag = services.repositories.writable(target.repository, target.tag or "")
    agent = request.headers.get("User-Agent", "")
    data = body.small(services.config.limits)
    repository = target.repository

    def admit() -> None:
        image_lists.admit(services, repository)

    admit()
    # Again once the tag is stored: the repository may have been deleted in between.
    services.repositories.set_tag(
        repository, tag, data, agent, services.authorizer.sender(), confirm=admit
    )


def _delete_tag(services: RegistryServices, target: paths.V1Target) -> None:
    services.repositories.delete_tag(target.repository, _existing(target))


def _get_tag_metadata(services: RegistryServices, target: paths.V1Target) -> object:
    return services.repositories.metadata(target.repository, _existing(target))


def _existing(target: paths.V1Target) -> Tag:
    return Tag.parse_existing(target.tag or "")


# -- the repository -------------------------------------------------------------


def _get_metadata(services: RegistryServices, target: paths.V1Target) -> object:
    return services.repositories.metadata(target.repository)


def _get_properties(services: RegistryServices, target: paths.V1Target) -> object:
    private = services.repositories.is_private(target.repository)
    return {"access": "private" if private else "public"}


def _put_properties(services: RegistryServices, target: paths.V1Target) -> None:
    value = body.json_object(services, errors.DATA_INVALID)
    if "access" not in value:
        raise Failure(*errors.DATA_INVALID)
    if value["access"] in ("public", "private"):  # 0.x ignores other values
        private = value["access"] == "private"
        if services.index is not None:
            image_lists.admit(services, target.repository)
        changes.set_private(services, target.repository, private)


def _delete_repository(services: RegistryServices, target: paths.V1Target) -> Response | None:
    if services.index is not None and target.action == "repository" and image_lists.wants_token():
        return image_lists.begin_deletion(services, target)  # a request to the index
    changes.delete(services, target.repository)
    return None


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

#: With the roles of an index, a user who may only push cannot change who sees a repository.
WITH_INDEX: Actions = {"properties": {"PUT": Action(_put_properties, _DELETE)}}
