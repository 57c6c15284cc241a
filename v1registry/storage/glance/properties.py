"""Files of an image as properties of its Glance image: `images/ID/X` is `meta_X`, as in 0.x."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from v1registry.storage import keys

LAYER = "layer"  # the file that is the data of the Glance image
META = "meta_"  # prefix of the properties for files
DESCRIBED = ("json", "ancestry", "_checksum")  # files that are still written to properties

_LARGEST = 60_000  # bytes of a property; the limit of the column in Glance is 65535


def split(key: str) -> tuple[str, str]:
    """Return the id and the file of `images/ID/FILE`; empty texts for other keys."""
    parts = key.split("/")
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == keys.IMAGES else ("", "")


def image_of(folder: str) -> str:
    """Return the id of the folder of one image; an empty text for other folders."""
    return split(f"{folder}/{LAYER}")[0]


def described(values: Mapping[str, bytes]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the image ids among the keys, each with the properties for its values, if any."""
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
    """Return the value as a property; None if it is too long or has characters Glance refuses."""
    if len(data) > _LARGEST:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if any(sign == "\0" or sign > "\uffff" for sign in text) else text
