"""All checks of a store, in the order in which `verify` runs them."""

from __future__ import annotations

from fnmatch import fnmatchcase

from v1registry.lib.maintenance.image_checks import ImageChecks
from v1registry.lib.maintenance.layer_checks import LayerChecks
from v1registry.lib.maintenance.leftover_checks import DigestChecks, PushChecks
from v1registry.lib.maintenance.membership import Membership
from v1registry.lib.maintenance.parents import Parents
from v1registry.lib.maintenance.repository_checks import RepositoryChecks
from v1registry.lib.maintenance.verify import Phase
from v1registry.lib.names import RepositoryName
from v1registry.lib.repositories import walk
from v1registry.lib.repositories.backfill import lacks_references
from v1registry.lib.repositories.tags import Tags
from v1registry.storage import Storage, keys


class StoreChecks:
    """The checks of one run.

    `glob`: only repositories with such a name, and the images that their tags lead to. `deep`: read all
    layers, at least `max_bytes` unpacked bytes of each. Uploads before `before` (seconds since the
    epoch) are unfinished.
    """

    def __init__(
        self,
        storage: Storage,
        tags: Tags,
        *,
        glob: str | None,
        deep: bool,
        before: float,
        max_bytes: int,
    ) -> None:
        self._storage = storage
        self._glob = glob
        self._before = before
        self.parents = Parents(storage)
        self._membership = Membership(storage, tags, self.parents)
        layers = LayerChecks(storage, deep=deep, max_bytes=max_bytes)
        self._images = ImageChecks(storage, self.parents, self._membership, layers, before)
        #: whether missing repository references are findings: docker-registry 0.x writes none
        self.with_references = not lacks_references(storage)
        self._repositories = RepositoryChecks(
            storage, tags, self.parents, with_references=self.with_references
        )

    def phases(self) -> list[Phase]:
        """Return what to check. Raise StorageError."""
        folders = self._folders()
        images = self._ids() if self._glob is None else self._ids_of(folders)
        phases = [
            Phase("images", images, self._images.check),
            Phase("repositories", sorted(folders), self._repositories.check),
        ]
        if self._glob is None:
            digests = DigestChecks(self._storage, self.parents, images)
            pushes = PushChecks(self._storage, self.parents, self._before)
            phases.append(Phase("digest folders", sorted(digests.folders()), digests.check))
            phases.append(Phase("staging folders", sorted(pushes.items()), pushes.check))
        # Of a store that is not mounted, the lists above show nothing.
        self._storage.require_marker()
        return phases

    def look_again(self) -> None:
        """Forget what may have changed, before an item is checked once more."""
        self._membership.forget()

    def _ids(self) -> list[str]:
        return sorted(entry.name for entry in self._storage.list(keys.IMAGES))

    def _folders(self) -> dict[str, RepositoryName | None]:
        found = {}
        for folder, name in walk.folders(self._storage):
            text = str(name) if name else folder.removeprefix(f"{keys.REPOSITORIES}/")
            if self._glob is None or fnmatchcase(text, self._glob):
                found[folder] = name
        return found

    def _ids_of(self, folders: dict[str, RepositoryName | None]) -> list[str]:
        ids: set[str] = set()
        for name in {name for name in folders.values() if name is not None}:
            ids |= self._membership.images(name).ids
        return sorted(ids)
