"""Deletes one image so that a crash or power loss never leaves what looks like a complete image.

The `_inprogress` mark is set before any part is deleted, and deleted last. So what an interrupted deletion
leaves looks like an unfinished upload: a push can complete it, and the next collection deletes it.
"""

from __future__ import annotations

from v1registry.lib.names import ImageId
from v1registry.storage import Storage, exists, keys

_MARK = "_inprogress"
_LAST = "json"  # without its JSON, no image looks complete


def delete_image(storage: Storage, image_id: ImageId) -> None:
    """Delete all files of an image; files that are gone already are no error."""
    # Without a commit record, no process can complete the image again.
    storage.delete(keys.image(image_id, "_commit"))
    storage.put(keys.image(image_id, _MARK), b"true")
    folder = keys.image(image_id, "").rstrip("/")
    for entry in list(storage.list(folder)):
        if entry.is_folder:
            storage.delete_folder(f"{folder}/{entry.name}")
        elif entry.name not in (_MARK, _LAST):
            storage.delete(f"{folder}/{entry.name}", durable=False)
    storage.delete(keys.image(image_id, _LAST))
    storage.delete(keys.image(image_id, _MARK), durable=False)
    storage.delete_folder(folder)


def begin(storage: Storage, run: str, image_ids: list[ImageId]) -> list[ImageId]:
    """Announce the deletion of these images; return those that no process has kept."""
    for image_id in image_ids:
        storage.put(keys.gc_delete(run, image_id), b"")
    chosen = []
    for image_id in image_ids:
        if exists(storage, keys.gc_keep(run, image_id)):
            storage.delete(keys.gc_delete(run, image_id))
        else:
            chosen.append(image_id)
    return chosen


def carry_out(storage: Storage, run: str, image_id: ImageId) -> None:
    """Delete an image whose deletion has begun."""
    delete_image(storage, image_id)
    storage.delete(keys.gc_delete(run, image_id))
