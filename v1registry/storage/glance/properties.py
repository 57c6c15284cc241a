"""The files of an image as properties of its layer in Glance: `images/ID/X` is `meta_X`, as in 0.x."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from v1registry.storage import keys

LAYER = "layer"  # the file that is no property but the data
META = "meta_"  # begins the properties that 0.x made of files
DESCRIBED = ("json", "ancestry", "_checksum")  # files that become properties still

_LARGEST = 60_000  # bytes of a property; the column in Glance takes 65535


def split(key: str) -> tuple[str, str]:
    """The id and the file of `images/ID/FILE`; nothing of other keys."""
    parts = key.split("/")
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == keys.IMAGES else ("", "")


def image_of(folder: str) -> str:
    """The id of the folder of one image; nothing of other folders."""
    return split(f"{folder}/{LAYER}")[0]


def described(values: Mapping[str, bytes]) -> Iterator[tuple[str, dict[str, str]]]:
    """The ids among the keys, and the properties that go with their values, if any do."""
    for image_id, of_image in itertools.groupby(values, lambda key: split(key)[0]):
        files = {key: split(key)[1] for key in of_image}
        fitting = {
            f"{META}{file}": text
            for key, file in files.items()
            if file in DESCRIBED and (text := _as_property(values[key])) is not None
        }
        if fitting:
            yield image_id, fitting


def _as_property(data: bytes) -> str | None:
    """The value as a property, or None: Glance takes no long ones, and not every character."""
    if len(data) > _LARGEST:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if any(sign == "\0" or sign > "\uffff" for sign in text) else text
