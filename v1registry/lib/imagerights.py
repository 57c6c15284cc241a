"""Who may read which image: images carry no repository, so it takes the rights on those that reach
them.

An image may be read by whoever may pull one repository that reaches it.
"""

from __future__ import annotations

from v1registry.lib.asked import Asked
from v1registry.lib.names import ImageId
from v1registry.lib.reach import LIFE, Reach
from v1registry.lib.rights import Access, Asker, Rights


class ImageRights:
    """Joins who may pull what (`rights`) with what reaches an image (`reach`)."""

    def __init__(self, rights: Rights, reach: Reach) -> None:
        self._rights = rights
        self._reach = reach
        self._answers: Asked[bool] = Asked(LIFE)

    def may_read(self, asker: Asker, image_id: ImageId) -> bool:
        """Whether the asker may pull a repository that reaches the image.

        A token's bearer: the token's repository. For an unknown image this is False, too.
        """
        if self._rights.open:
            return True
        grant = asker.grant
        if grant is not None:
            may = self._rights.may(asker, grant.repository, Access.PULL)
            return may and self._reach.holds(grant.repository, image_id)
        return self._answers.get(f"{asker.key} {image_id}", lambda: self._find(asker, image_id))

    def _find(self, asker: Asker, image_id: ImageId) -> bool:
        return any(
            self._rights.may(asker, repository, Access.PULL)
            and self._reach.holds(repository, image_id)
            for repository in self._reach.claiming(image_id)
        )
