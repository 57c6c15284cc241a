"""The names of images in Glance: `[namespace/]repository:tag`, as in 0.x."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, Refused
from v1registry.storage.glance.images import GlanceImages

_LONGEST = 255  # characters, in Glance
_log = logging.getLogger(__name__)


class ImageNames:
    """Names the image that a tag points to, and removes the name from the previous image.

    Names are for users of Glance; the registry does not read them. So a push does not fail if the
    image belongs to another user and cannot be named.
    """

    def __init__(self, images: GlanceImages) -> None:
        self._images = images

    def give(self, name: str, uuid: str | None) -> None:
        """Give the name to this image only; with None, to no image."""
        # quoted: a bare name may look like an operator
        found = self._images.list(name, name=f'in:"{name}"')
        holders = {record.id for record in found if record.is_ours}
        for holder in holders - {uuid}:
            self._set(holder, None)
        if uuid is not None and uuid not in holders:
            self._set(uuid, name)

    def _set(self, uuid: str, name: str | None) -> None:
        try:
            self._images.update(uuid, f"the name of {uuid}", {"name": name})
        except (NotFound, Refused) as error:
            _log.warning("Glance refuses the name of an image: %s", error)


def name_of(key: str) -> str | None:
    """Return the name for the key of a tag; None for other keys and names that Glance refuses."""
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
    """Yield the keys of all tags below a folder of repositories."""
    for entry in storage.list(folder):
        key = f"{folder}/{entry.name}"
        if entry.is_folder:
            yield from tags_below(storage, key)
        elif name_of(key) is not None:
            yield key
