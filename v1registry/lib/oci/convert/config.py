"""The config that Docker 1.10 to 17.11 computes when it pulls an image over v1.

Its SHA-256 is the image id that these engines show. So it must equal theirs in every byte, with one
exception, which `complete` makes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import zip_longest

from v1registry.lib.oci.convert import gojson, v1image
from v1registry.lib.oci.convert.gojson import NotJSON
from v1registry.lib.oci.convert.kinds import Mistyped
from v1registry.lib.oci.convert.v1image import V1Image

_NOT_REWRITTEN_FROM = (1, 8, 3)  # the first docker_version whose JSON is not rewritten
_DROPPED = ("id", "parent", "Size", "parent_id", "layer_id", "throwaway")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_MOST_DIGITS = 18  # a longer number is larger than any version
_LARGEST = 10**_MOST_DIGITS

# Go's names of the architectures, by the kernel's names, which old engines wrote.
_ARCHITECTURES = {
    "": "amd64",
    "x86_64": "amd64",
    "x86-64": "amd64",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "x86": "386",
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "armhf": "arm",
    "armel": "arm",
}
_SYSTEM = "linux"


class Unconvertible(ValueError):
    """Engines refuse this image as well; the text says why."""


def image_config(jsons: Sequence[bytes], diff_ids: Sequence[str]) -> bytes:
    """Return the config of the image at the end of this chain; the base image is first.

    `jsons` are the stored bytes, `diff_ids` the digests of the unpacked layers. Raise Unconvertible.
    """
    images = [_read(data) for data in jsons]
    top = jsons[-1]
    if _is_older(images[-1]["docker_version"]):
        top = v1image.write(images[-1])
    values = gojson.members(top)
    for name in _DROPPED:
        values.pop(name, None)
    values["rootfs"] = _root(diff_ids)
    values["history"] = gojson.array(map(_history, images))
    return gojson.mapping(values)


def complete(config: bytes) -> bytes:
    """Return the config with `os` and `architecture`, which are added if they are missing.

    OCI requires both. Docker before 0.7 wrote no `os`, and `x86_64`, which is not a name in Go. Such an
    image gets another id than the one that engines show.
    """
    image = _read(config)
    values = gojson.members(config)
    if not image["os"]:
        values["os"] = gojson.string(_SYSTEM)
    if (known := _ARCHITECTURES.get(image["architecture"])) is not None:
        values["architecture"] = gojson.string(known)
    return gojson.mapping(values)


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """Return the chain id of each layer, by which Docker 1.10 and later identify layers."""
    chain: list[str] = []
    for diff_id in diff_ids:
        below = f"{chain[-1]} {diff_id}" if chain else ""
        digest = f"sha256:{hashlib.sha256(below.encode()).hexdigest()}" if below else diff_id
        chain.append(digest)
    return chain


def _read(data: bytes) -> V1Image:
    try:
        return v1image.read(data)
    except NotJSON as error:
        raise Unconvertible(f"the image's JSON cannot be read: {error}") from None
    except Mistyped as error:
        raise Unconvertible(f"of the image's JSON, {error}") from None


def _is_older(version: str) -> bool:
    """Return whether engines write the JSON anew. A part that is not a number counts as 0."""
    parts = [_part(text) for text in version.split(".")]
    for part, bound in zip_longest(parts, _NOT_REWRITTEN_FROM, fillvalue=0):
        if part != bound:
            return part < bound
    return False


def _part(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        return 0
    digits = text.lstrip("+-").lstrip("0")
    number = int(digits or "0") if len(digits) <= _MOST_DIGITS else _LARGEST
    return -number if text[0] == "-" else number


def _root(diff_ids: Sequence[str]) -> bytes:
    values = [("type", gojson.string("layers"))]
    if diff_ids:
        values.append(("diff_ids", gojson.array(map(gojson.string, diff_ids))))
    return gojson.object_of(values)


def _history(image: V1Image) -> bytes:
    """Return one step of the history; engines never set `empty_layer` for a v1 image."""
    command = image["container_config"]["Cmd"] or []
    values = {
        "author": image["author"],
        "created_by": " ".join(command),
        "comment": image["comment"],
    }
    return gojson.object_of(
        [
            ("created", gojson.string(image["created"])),
            *((name, gojson.string(value)) for name, value in values.items() if value),
        ]
    )
