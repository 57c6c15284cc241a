"""What an index answers about repositories: image lists, tokens, where the images are (protocol-v1.md section 2.1).

In standalone mode without an index of our own everybody gets a token, which nobody checks. With
one, tokens are real, and are given to who asks for them and has the right.
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


def wants_token() -> bool:
    """Whether the client asks for a token, as engines do of an index."""
    return request.headers.get("X-Docker-Token", "").strip().lower() == "true"


def admit(parts: Services, repository: RepositoryName) -> None:
    """Let a push to the repository go on, if there is an index of our own.

    A repository that the index does not know is made, and its flag in the store is set before
    anything of it can be seen. Raise Failure 404 if it was deleted since the push began.
    """
    if parts.index is None:
        return
    private = parts.index.catalog.admit(repository, _made(parts))
    _flag_in_store(parts, repository, private)


def begin_push(parts: Services, repository: RepositoryName) -> None:
    """Make the repository known to an index of our own, also if it was deleted before."""
    if parts.index is not None:
        _flag_in_store(parts, repository, parts.index.catalog.create(repository))


def _made(parts: Services) -> str | None:
    """For which creation of its repository the caller's token was issued; None without a token.

    Where there is no index, tokens are not looked at.
    """
    if parts.index is None:
        return None
    grant = parts.door.asker().grant
    return grant.made if grant is not None else None


def _flag_in_store(parts: Services, repository: RepositoryName, private: bool) -> None:
    """docker-registry 0.x, and a walk after the database was lost, look there."""
    if (
        private
        and isinstance(parts, RegistryServices)
        and not parts.repositories.is_private(repository)
    ):
        parts.repositories.set_private(repository, True)


def begin_deletion(parts: Services, target: paths.V1Target) -> Response:
    """A token with which the client then deletes the repository at the registry."""
    return answers.ordinary("", 202, headers=_headers(parts, target.repository, "delete"))


def _put_repository(parts: Services, target: paths.V1Target) -> Response:
    """Engines begin a push with it. With a password, it brings a deleted repository back."""
    _update(parts, target.repository, anew=_made(parts) is None)
    return answers.ordinary("", headers=_headers(parts, target.repository, "write"))


def _put_images(parts: Services, target: paths.V1Target) -> Response:
    """Engines end a push with it. It does not bring a deleted repository back."""
    _update(parts, target.repository, anew=False)
    return answers.ordinary(status=204, headers=_headers(parts, target.repository, "write"))


def _get_images(parts: Services, target: paths.V1Target) -> Response:
    images = parts.image_lists.get(target.repository)
    if parts.index is not None and wants_token():
        parts.index.pulls.count(target.repository)
    return answers.ordinary(images, headers=_headers(parts, target.repository, "read"))


def _delete_images(parts: Services, target: paths.V1Target) -> Response:
    """Engines end a repository's deletion with it. No effect where the registry is this process."""
    if parts.is_alone and parts.index is not None:
        parts.index.catalog.delete(target.repository)
    return answers.ordinary(status=204, headers=_headers(parts, target.repository, "delete"))


def _put_auth(_parts: Services, _target: paths.V1Target) -> Response:
    return answers.ordinary("OK")


def _get_access(parts: Services, target: paths.V1Target) -> Response:
    """Whether an image may be read by who pulls from, or pushes to, this repository."""
    image_id = ImageId.parse(target.tag)
    if parts.index is None:
        return answers.ordinary({"access": parts.door.may_read(image_id)})
    user = parts.door.asker().user
    return answers.ordinary({"access": parts.index.may_read(image_id, target.repository, user)})


def _update(parts: Services, repository: RepositoryName, *, anew: bool) -> None:
    """Take an image list. With `anew`, the index makes a repository that was deleted again."""
    data = body.small(parts.config.limits)
    if parts.index is None:
        parts.image_lists.update(repository, data)
        return
    (begin_push if anew else admit)(parts, repository)
    parts.image_lists.update(repository, data, parts.door.asker().user)


def _headers(parts: Services, repository: RepositoryName, access: str) -> answers.Headers:
    """Where the images are, and the token with which a client goes there."""
    endpoints = parts.config.registry_endpoints or request.environ.get("HTTP_HOST", "")
    # a line each: engines up to 0.10 take a whole line for one host
    headers = [("X-Docker-Endpoints", host.strip()) for host in endpoints.split(",")]
    token = _token(parts, repository, access)
    if token is None:
        return headers
    # What stands in X-Docker-Token is sent back behind the word `Token`; 0.x, standalone, put the
    # word there, too.
    bare = token if parts.index is not None else f"Token {token}"
    return [("X-Docker-Token", bare), ("WWW-Authenticate", f"Token {token}"), *headers]


def _token(parts: Services, repository: RepositoryName, access: str) -> str | None:
    index = parts.index
    if index is None:
        signature = base64.b32encode(secrets.token_bytes(10)).decode("ascii")
        return f'signature={signature},repository="{repository.quoted}",access={access}'
    asker = parts.door.asker()
    if not wants_token() or asker.grant is not None:  # one token makes no second, and lives on
        return None
    return index.tokens.issue(repository, access, asker.user, index.token_life)


_PULL, _PUSH, _DELETE = Access.PULL, Access.PUSH, Access.DELETE
_NO_IMAGES = errors.IMAGES_NOT_FOUND

ACTIONS: Actions = {
    "repository": {
        "PUT": Action(_put_repository, _PUSH),
        "DELETE": Action(begin_deletion, _DELETE),
    },
    "images": {
        # registries ask this to find out whether a token counts, whatever it is for
        "GET": Action(_get_images, _PULL, _NO_IMAGES, any_token=True),
        "PUT": Action(_put_images, _PUSH),
        "DELETE": Action(_delete_images, _DELETE),
    },
    "access": {"GET": Action(_get_access, _PULL, any_token=True)},
    "auth": {"PUT": Action(_put_auth, None)},
}
