"""The names of Glance's images: `[namespace/]repository:tag`, as 0.x gave them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, Refused
from v1registry.storage.glance.images import GlanceImages

_LONGEST = 255  # characters, in Glance
_log = logging.getLogger(__name__)


class ImageNames:
    """Gives a name to the image that a tag points to, and takes it from the one before.

    Names are for people who look into Glance; the registry reads none. So an image that may not be
    named, being somebody else's, makes no push fail.
    """

    def __init__(self, images: GlanceImages) -> None:
        self._images = images

    def give(self, name: str, uuid: str | None) -> None:
        """Let this image, and no other, have the name; with None, let none have it."""
        found = self._images.list(name, name=f'in:"{name}"')  # bare, a name may begin an operator
        holders = {record.id for record in found if record.is_ours}
        for holder in holders - {uuid}:
            self._set(holder, None)
        if uuid is not None and uuid not in holders:
            self._set(uuid, name)

    def _set(self, uuid: str, name: str | None) -> None:
        try:
            self._images.update(uuid, f"the name of {uuid}", {"name": name})
        except (NotFound, Refused) as error:
            _log.warning("Glance does not name an image: %s", error)


def name_of(key: str) -> str | None:
    """The name that goes with the key of a tag; None for other keys, and names Glance can't hold."""
    parts = key.split("/")
    if len(parts) != 4 or parts[0] != keys.REPOSITORIES or not parts[3].startswith(keys.TAG):
        return None
    namespace, tag = keys.decode(parts[1]), keys.tag_name(parts[3])
    name = f"{keys.repository_name(parts[2])}:{tag}"
    if namespace != "library":
        name = f"{namespace}/{name}"
    fits = len(name) <= _LONGEST and name.isascii() and name.isprintable()
    return name if fits and not set(name) & set('"\\') else None


def tags_below(storage: Storage, folder: str) -> Iterator[str]:
    """The keys of all tags in a folder of repositories, and in those below it."""
    for entry in storage.list(folder):
        key = f"{folder}/{entry.name}"
        if entry.is_folder:
            yield from tags_below(storage, key)
        elif name_of(key) is not None:
            yield key
