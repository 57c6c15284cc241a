"""Paths below `/v1/repositories/`: which action with which method, and what it takes to do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from v1registry.api import paths
from v1registry.api.authorize import mark
from v1registry.api.services import RegistryServices, Services
from v1registry.lib import errors
from v1registry.lib.auth.rights import Access
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName


class Action(NamedTuple):
    """A handler, and the access to the repository that it takes; None: none.

    `hidden` is the answer to who may not even know whether there is such a repository. `any_token`:
    a token for the repository is enough, whatever its access.
    """

    handler: Callable[[Any, paths.V1Target], Response]
    access: Access | None
    hidden: errors.Text = errors.REPOSITORY_NOT_FOUND
    any_token: bool = False


Actions = Mapping[str, Mapping[str, Action]]  # by the action of `paths.Target`, and the method


def blueprint(parts: Services, actions: Actions) -> Blueprint:
    """Handlers get `parts`, so they must be those that these parts are for."""
    routes = Blueprint("repositories", __name__)

    @routes.route(
        "/v1/repositories/<any_path:path>", methods=["GET", "PUT", "DELETE", "POST", "PATCH"]
    )
    def repository(path: str) -> Response:
        target = paths.parse(path)
        legal = target.repository.is_legal
        if not legal and request.method not in ("GET", "HEAD", "DELETE"):
            raise Failure(*errors.REPOSITORY_NAME_INVALID)
        by_method = actions.get(target.action)
        if by_method is None:
            raise NotFound
        method = "GET" if request.method == "HEAD" else request.method
        action = by_method.get(method)
        if action is None:
            raise MethodNotAllowed(valid_methods=list(by_method))
        if action.access is not None:
            bearer = action.any_token and parts.door.bears_token(target.repository)
            access = bearer or action.access
            parts.door.repository(target.repository, access, action.hidden)
        if not legal and not _is_known(parts, target.repository):
            raise Failure(*errors.REPOSITORY_NAME_INVALID)
        return action.handler(parts, target)

    mark(repository, "repository by its action")
    return routes


def _is_known(parts: Services, repository: RepositoryName) -> bool:
    """Whether the store, or an index alone, has a repository of a name that is not legal."""
    if isinstance(parts, RegistryServices):
        return parts.repositories.is_stored(repository)
    return parts.index is not None and parts.index.catalog.knows(repository)


def joined(first: Actions, second: Actions) -> Actions:
    """Both; where both have the same, the first."""
    return {name: {**second.get(name, {}), **first.get(name, {})} for name in {**second, **first}}
