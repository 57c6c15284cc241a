"""Routing below `/v1/repositories/`: the handler of each action and method, and its access."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from v1registry.api import answers, paths
from v1registry.api.authorize import mark
from v1registry.api.services import RegistryServices, Services
from v1registry.lib import errors
from v1registry.lib.auth.rights import Access
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName


class Action(NamedTuple):
    """A handler, and the access to the repository that it requires; None for no access.

    The handler returns a response, or a value to send as JSON; None for `true`.
    `hidden` is the error for users who may not know that the repository exists. `any_token`: every
    token for the repository is sufficient, whatever access it grants.
    """

    handler: Callable[[Any, paths.V1Target], object]
    access: Access | None
    hidden: errors.Text = errors.REPOSITORY_NOT_FOUND
    any_token: bool = False


Actions = Mapping[str, Mapping[str, Action]]  # by the action of `paths.V1Target`, and the method


def blueprint(services: Services, actions: Actions) -> Blueprint:
    """Return the routes of `actions`. Their handlers must accept these `services`."""
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
            bearer = action.any_token and services.authorizer.token_access(target.repository)
            access = bearer or action.access
            services.authorizer.require(target.repository, access, action.hidden)
        if not legal and not _is_known(services, target.repository):
            raise Failure(*errors.REPOSITORY_NAME_INVALID)
        found = action.handler(services, target)
        if isinstance(found, Response):
            return found
        return answers.uncached_json(True if found is None else found)

    mark(repository, "repository by its action")
    return routes


def _is_known(services: Services, repository: RepositoryName) -> bool:
    """Return whether a repository with a name that is not legal exists in the store or the index."""
    if isinstance(services, RegistryServices):
        return services.repositories.is_stored(repository)
    return services.index is not None and services.index.catalog.knows(repository)


def joined(first: Actions, second: Actions) -> Actions:
    """Return the actions of both. `first` wins where both have the same action and method."""
    return {name: {**second.get(name, {}), **first.get(name, {})} for name in {**second, **first}}
