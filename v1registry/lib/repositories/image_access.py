"""Which caller may read and use which image, by its access to the repositories that contain it.

A caller may read an image if it may pull a repository that contains the image or, for a limited time,
if it has sent the image itself. To all other callers the image looks unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

from v1registry.lib.auth.rights import Access, Caller, Rights
from v1registry.lib.images.push_provenance import PushProvenance, Sender
from v1registry.lib.names import ImageId
from v1registry.lib.repositories.references import LIFE, RepositoryReferences
from v1registry.lib.support.single_flight import SingleFlightCache


@dataclass(eq=False)
class ImageRights:
    """Combines `rights` on repositories, `references` of images, and push `provenance`."""

    rights: Rights
    references: RepositoryReferences
    provenance: PushProvenance

    def __post_init__(self) -> None:
        self._answers: SingleFlightCache[bool] = SingleFlightCache(LIFE)

    def may_read(self, caller: Caller, image_id: ImageId) -> bool:
        """Return whether the caller may read the image. A positive result may be 5 seconds old.

        For the bearer of a token, only the token's repository counts. The token's kind of access is
        not checked here.
        """
        if self.rights.open:
            return True
        return self._answers.get(f"{caller.key} {image_id}", lambda: self._find(caller, image_id))

    def may_use(self, caller: Caller, image_id: ImageId) -> bool:
        """Return whether the caller may make the image a part of its push."""
        return self.may_read(caller, image_id) or bool(self.rights.index_allows(caller, image_id))

    def sender(self, caller: Caller) -> Sender | None:
        """Return the caller as a sender; None if users are not told apart."""
        if self.rights.open:
            return None
        return Sender(
            key=caller.key,
            may_use=lambda image_id: self.may_use(caller, image_id),
            expects=lambda image_id: self.rights.expects(caller, image_id),
            parent_refused=self.rights.parent_refused,
        )

    def _find(self, caller: Caller, image_id: ImageId) -> bool:
        if self.provenance.has_proven(image_id, caller.key):
            return True
        if caller.grant is not None:
            return self.references.contains(caller.grant.repository, image_id)
        return any(
            self.rights.may(caller, repository, Access.PULL)
            and self.references.contains(repository, image_id)
            for repository in self.references.candidates(image_id)
        )
