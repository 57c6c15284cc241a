"""Index endpoints for repositories: image lists, tokens, registry addresses (protocol-v1.md section 2.1).

Without an index of our own, every client gets a token, which the registry does not check. An index
of our own signs tokens, and gives one to each client that requests it and has the access.
"""

from __future__ import annotations

import base64
import secrets

from flask import Response, request

from v1registry.api import answers, body, paths
from v1registry.api.services import RegistryServices, Services
from v1registry.api.v1.repository_routes import Action, Actions
from v1registry.lib import errors
from v1registry.lib.auth.rights import Access
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.repositories import image_list
from v1registry.lib.running import for_size


def wants_token() -> bool:
    """Return whether the client requests a token, as engines do from an index."""
    return request.headers.get("X-Docker-Token", "").strip().lower() == "true"


def admit(services: Services, repository: RepositoryName) -> None:
    """Let a push to the repository continue. Without an index of our own, do nothing.

    The index creates a repository that it does not know. Its private flag is set in the store
    before clients can see anything of it. Raise Failure 404 if the repository was deleted since
    the push began.
    """
    if services.index is None:
        return
    private = services.index.catalog.admit(repository, _token_creation(services))
    _flag_in_store(services, repository, private)


def begin_push(services: Services, repository: RepositoryName) -> None:
    """Create the repository in an index of our own, also if it was deleted before."""
    if services.index is not None:
        _flag_in_store(services, repository, services.index.catalog.create(repository))


def _token_creation(services: Services) -> str | None:
    """Return the creation of the repository that the caller's token names.

    None without a token, and without an index, since then tokens are not checked.
    """
    if services.index is None:
        return None
    grant = services.authorizer.caller().grant
    return grant.made if grant is not None else None


def _flag_in_store(services: Services, repository: RepositoryName, private: bool) -> None:
    """Set the private flag in the store.

    docker-registry 0.x reads it there, and so does the index when its database was lost.
    """
    if (
        private
        and isinstance(services, RegistryServices)
        and not services.repositories.is_private(repository)
    ):
        services.repositories.set_private(repository, True)


def begin_deletion(services: Services, target: paths.V1Target) -> Response:
    """Return a token with which the client then deletes the repository at the registry."""
    return answers.uncached_json("", 202, headers=_headers(services, target.repository, "delete"))


def _put_repository(services: Services, target: paths.V1Target) -> Response:
    """Begin a push. A client with a password, not a token, creates a deleted repository again."""
    recreate = _token_creation(services) is None
    _update(services, target.repository, recreate=recreate, begins=True)
    return answers.uncached_json("", headers=_headers(services, target.repository, "write"))


def _put_images(services: Services, target: paths.V1Target) -> Response:
    """End a push. This does not create a deleted repository again."""
    _update(services, target.repository, recreate=False)
    return answers.uncached_json(status=204, headers=_headers(services, target.repository, "write"))


def _get_images(services: Services, target: paths.V1Target) -> Response:
    images = services.image_lists.get(target.repository)
    if services.index is not None and wants_token():
        services.index.pulls.count(target.repository)
    return answers.uncached_json(images, headers=_headers(services, target.repository, "read"))


def _delete_images(services: Services, target: paths.V1Target) -> Response:
    """End the deletion of a repository. It has no effect in a process that is also the registry."""
    if services.is_index_only and services.index is not None:
        services.index.catalog.delete(target.repository)
    return answers.uncached_json(
        status=204, headers=_headers(services, target.repository, "delete")
    )


def _get_access(services: Services, target: paths.V1Target) -> object:
    """Return whether callers that may pull from or push to this repository may read an image."""
    image_id = ImageId.parse(target.tag)
    if services.index is None:
        return {"access": services.authorizer.may_read(image_id)}
    user = services.authorizer.caller().user
    return {"access": services.index.may_read(image_id, target.repository, user)}


def _update(
    services: Services, repository: RepositoryName, *, recreate: bool, begins: bool = False
) -> None:
    """Store an image list. With `recreate`, the index creates a deleted repository again.

    If a push `begins` that would change an immutable tag, raise Failure 409. Engines print the text
    of this refusal, but of a refused tag only the status.
    """
    data = body.small(services.config.limits)
    if begins and isinstance(services, RegistryServices) and services.config.immutable_tags:
        wanted = for_size(services.compute, len(data))(image_list.tags_in, data)
        services.repositories.immutable.refuse_push(repository, wanted)
    if services.index is None:
        services.image_lists.update(repository, data)
        return
    (begin_push if recreate else admit)(services, repository)
    services.image_lists.update(repository, data, services.authorizer.caller().user)


def _headers(services: Services, repository: RepositoryName, access: str) -> answers.Headers:
    """Return headers that name the registries with the images, and a token for them."""
    endpoints = services.config.registry_endpoints or request.environ.get("HTTP_HOST", "")
    # One header line a host: engines up to 0.10 use a whole line as one host.
    headers = [("X-Docker-Endpoints", host.strip()) for host in endpoints.split(",")]
    token = _token(services, repository, access)
    if token is None:
        return headers
    # Engines send X-Docker-Token back with the word `Token` before it. docker-registry 0.x in
    # standalone mode put the word into the header, too.
    bare = token if services.index is not None else f"Token {token}"
    return [("X-Docker-Token", bare), ("WWW-Authenticate", f"Token {token}"), *headers]


def _token(services: Services, repository: RepositoryName, access: str) -> str | None:
    index = services.index
    if index is None:
        signature = base64.b32encode(secrets.token_bytes(10)).decode("ascii")
        return f'signature={signature},repository="{repository.quoted}",access={access}'
    caller = services.authorizer.caller()
    # A token never yields a second token: else a client could extend its access without end.
    if not wants_token() or caller.grant is not None:
        return None
    return index.tokens.issue(repository, access, caller.user, index.token_life)


_PULL, _PUSH, _DELETE = Access.PULL, Access.PUSH, Access.DELETE
_NO_IMAGES = errors.IMAGES_NOT_FOUND

ACTIONS: Actions = {
    "repository": {
        "PUT": Action(_put_repository, _PUSH),
        "DELETE": Action(begin_deletion, _DELETE),
    },
    "images": {
        # Registries send this request to validate a token, whatever access it grants.
        "GET": Action(_get_images, _PULL, _NO_IMAGES, any_token=True),
        "PUT": Action(_put_images, _PUSH),
        "DELETE": Action(_delete_images, _DELETE),
    },
    "access": {"GET": Action(_get_access, _PULL, any_token=True)},
    "auth": {"PUT": Action(lambda _services, _target: "OK", None)},
}
