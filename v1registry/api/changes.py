"""Changes of a repository that concern the index and the store, in the order that a running push needs."""

from __future__ import annotations

from v1registry.api.services import RegistryServices, Services
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName


def delete(services: RegistryServices, repository: RepositoryName) -> None:
    """Delete a repository, not its images. Raise Failure 404 if there is none, 409 for immutable tags."""
    services.repositories.immutable.refuse_deletion(repository)  # before the index forgets anything
    # The index's row is deleted first, so that a running push cannot create the repository again.
    known = services.index is not None and services.index.catalog.delete(repository)
    try:
        services.repositories.delete(repository)
    except Failure as failure:
        if not (known and failure.status == errors.REPOSITORY_NOT_FOUND[0]):
            raise


def rename(services: RegistryServices, repository: RepositoryName, new: RepositoryName) -> None:
    """Rename a repository. Raise Failure 404 if it is unknown, 409 if the new name is in use.

    Raise Failure 409 also for immutable tags, which their repository keeps.

    It may be interrupted and repeated. Until it ends, both names work.
    """
    if new == repository:
        raise Failure(*errors.REPOSITORY_EXISTS)
    services.repositories.immutable.refuse_deletion(repository)
    services.repositories.copy(repository, new)
    if services.index is not None:
        services.index.catalog.rename(repository, new)
    services.repositories.announce(new)
    services.repositories.delete(repository)


def set_private(services: Services, repository: RepositoryName, private: bool) -> None:
    """Make a repository private or public: first in the index, which decides who may pull."""
    if services.index is not None:
        services.index.catalog.flag(repository, is_private=private)
    if isinstance(services, RegistryServices):
        services.repositories.set_private(repository, private)  # docker-registry 0.x reads it there
