"""Who may read and use which image: images carry no repository, so it takes the rights on those
that reach them.

An image may be read by whoever may pull one repository that reaches it, and for a while by who has
just sent it as it is. To all others it is an unknown one.
"""

from __future__ import annotations

from v1registry.lib.auth.rights import Access, Caller, Rights
from v1registry.lib.images.push_provenance import PushProvenance, Sender
from v1registry.lib.names import ImageId
from v1registry.lib.repositories.references import LIFE, RepositoryReferences
from v1registry.lib.support.single_flight import SingleFlightCache


class ImageRights:
    """Joins who may pull what (`rights`), what reaches an image (`reach`), and who sent it."""

    def __init__(self, rights: Rights, reach: RepositoryReferences, proofs: PushProvenance) -> None:
        self._rights = rights
        self._reach = reach
        self._proofs = proofs
        self._answers: SingleFlightCache[bool] = SingleFlightCache(LIFE)

    def may_read(self, asker: Caller, image_id: ImageId) -> bool:
        """Whether the image is one that the asker may know of; a "yes" may be some seconds old.

        For a token's bearer its repository counts alone; what the token may do with that is not
        looked at here.
        """
        if self._rights.open:
            return True
        return self._answers.get(f"{asker.key} {image_id}", lambda: self._find(asker, image_id))

    def may_use(self, asker: Caller, image_id: ImageId) -> bool:
        """Whether the asker may make the image a part of what he pushes."""
        return self.may_read(asker, image_id) or bool(self._rights.vouches(asker, image_id))

    def sender(self, asker: Caller) -> Sender | None:
        """The asker as one who pushes; None where nobody is told apart."""
        if self._rights.open:
            return None
        return Sender(
            key=asker.key,
            may_use=lambda image_id: self.may_use(asker, image_id),
            expects=lambda image_id: self._rights.expects(asker, image_id),
            parent_refused=self._rights.parent_refused,
        )

    def _find(self, asker: Caller, image_id: ImageId) -> bool:
        if self._proofs.has_proven(image_id, asker.key):
            return True
        if asker.grant is not None:
            return self._reach.holds(asker.grant.repository, image_id)
        return any(
            self._rights.may(asker, repository, Access.PULL)
            and self._reach.holds(repository, image_id)
            for repository in self._reach.claiming(image_id)
        )
