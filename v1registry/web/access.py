"""Access checks of pages. The rules themselves are those of the API (`api/authorize.py`)."""

from __future__ import annotations

from typing import Any

from v1registry.api.services import RegistryServices, Services
from v1registry.lib import errors
from v1registry.lib.auth.rights import Access
from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Image
from v1registry.lib.names import ImageId, RepositoryName

#: For a repository that does not exist, and for one that the visitor may not see.
NO_REPOSITORY = (404, "There is no such repository, or you may not see it")

#: For an image that does not exist, and for one that the visitor may not see.
NO_IMAGE = (404, "There is no such image, or you may not see it")


def repository_of(services: Services, name: str, access: Access = Access.PULL) -> RepositoryName:
    """Return the repository of a path.

    Raise Failure 404 if the visitor may not pull from it, whether it exists or not, and 403 if the
    visitor may pull but does not have `access`.
    """
    try:
        repository = RepositoryName.parse_stored(name)
    except Failure:
        raise Failure(*NO_REPOSITORY) from None
    authorizer = services.authorizer
    if not authorizer.allows(repository, Access.PULL):
        raise Failure(*NO_REPOSITORY)
    if access is not Access.PULL and not authorizer.allows(repository, access):
        raise Failure(*errors.FORBIDDEN)
    return repository


def image_of(services: RegistryServices, text: str) -> Image:
    """Return the complete image of a path.

    Raise Failure 404 for an image that the visitor may not read, whether it exists or not.
    """
    authorizer = services.authorizer
    if (
        not ImageId.is_valid(text)
        or not authorizer.allows(None, Access.PULL)
        or not authorizer.may_read(ImageId(text))
    ):
        raise Failure(*NO_IMAGE)
    try:
        return services.images.get(ImageId(text))
    except Failure as failure:
        if failure.status == 404:
            raise Failure(*NO_IMAGE) from None
        raise


def is_administrator(services: Services) -> bool:
    """Return whether the visitor administers the registry, as `api/admin/access.py` decides.

    In an open registry, in which every client may do everything, every visitor does.
    """
    if services.authorizer.rights.open:
        return True
    user = services.authorizer.caller().user
    if services.index is None:
        return user in services.config.admins
    return user is not None and services.index.users.is_admin(user)


def require_administrator(services: Services) -> None:
    """Raise Failure 401 for an anonymous visitor, 403 for one who is no administrator."""
    if not is_administrator(services):
        require_user(services)
        raise Failure(*errors.FORBIDDEN)


def require_user(services: Services) -> str:
    """Return the name of the visitor. Raise Failure 401 for an anonymous one."""
    caller = services.authorizer.caller()
    if caller.user is None:
        raise services.authorizer.rights.refusal(caller)
    return caller.user


def require_account(services: Services, name: str) -> None:
    """Raise Failure 403 unless this is the visitor's own account, or an administrator asks."""
    if require_user(services) != name:
        require_administrator(services)


def can_sign_up(services: Services) -> bool:
    """Return whether visitors may create accounts, with or without an invitation."""
    return services.index is not None and services.config.index.sign_up != "closed"


def known_repository(services: Services, target: RepositoryName) -> Any:
    """Return what our index knows about a repository. Raise Failure 404 as for an absent one."""
    assert services.index is not None
    user = services.authorizer.caller().user
    try:
        return services.index.catalog.get(target, user, with_tags=False)
    except Failure as failure:
        if failure.status == errors.REPOSITORY_NOT_FOUND[0]:
            raise Failure(*NO_REPOSITORY) from None
        raise
