"""The images that 0.x wrote to Glance.

Their v1 id is in a property named `id`, which the v2 API neither shows nor filters by. It is also in
the image JSON, which 0.x wrote to the property `meta_json`.
"""

from __future__ import annotations

import json
import threading

from v1registry.storage.glance.client import GlanceClient, acting_for
from v1registry.storage.glance.images import OWN_ID, GlanceImage, GlanceImages


class OldImages:
    """Finds the images of 0.x by their v1 ids; lists all of them once."""

    def __init__(self, images: GlanceImages, client: GlanceClient) -> None:
        self._images = images
        self._client = client
        self._found: dict[str, str] | None = None
        self._lock = threading.Lock()

    def find(self, image_id: str) -> str | None:
        """Return the Glance id of an image of 0.x, or None."""
        return self._all().get(image_id)

    def ids(self) -> list[str]:
        """Return the v1 ids of all images of 0.x."""
        return list(self._all())

    def forget(self, image_id: str) -> None:
        """Remove an image that was deleted."""
        self._all().pop(image_id, None)

    def _all(self) -> dict[str, str]:
        if self._found is None:
            with self._lock:
                if self._found is None:
                    with acting_for(None):  # all callers share the result
                        self._found = self._read()
        return self._found

    def _read(self) -> dict[str, str]:
        project = self._client.project()
        found: dict[str, GlanceImage] = {}
        for record in self._images.list("images"):
            image_id = _v1_id(record)
            # Only users that Glance trusts may publish an image. Private images of other projects,
            # which an administrator's list includes, must not pass for images of the registry.
            trusted = project is None or record.public or record.owner == project
            if image_id is None or not trusted:
                continue
            known = found.get(image_id)
            if known is None or _rank(record) > _rank(known):
                found[image_id] = record
        return {image_id: record.id for image_id, record in found.items()}


def _v1_id(record: GlanceImage) -> str | None:
    if OWN_ID in record.properties:
        return None
    try:
        image_id = json.loads(record.properties["meta_json"])["id"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return image_id if isinstance(image_id, str) else None


def _rank(record: GlanceImage) -> tuple[bool, bool, float, str]:
    """Return the sort key among images with one id: complete, with a layer, newer."""
    whole = "meta__inprogress" not in record.properties
    return (whole, record.size is not None, record.created, record.id)
