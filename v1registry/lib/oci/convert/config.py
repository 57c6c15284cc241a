"""The image configuration that engines 1.10 to 17.11 compute when they pull an image over v1.

Its SHA-256 is the image id that those engines show, so it is theirs to the last
byte, with one exception that `complete` makes.
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

_NOT_REWRITTEN_FROM = (1, 8, 3)  # this docker_version on
_DROPPED = ("id", "parent", "Size", "parent_id", "layer_id", "throwaway")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_MOST_DIGITS = 18  # what is longer is larger than any version
_LARGEST = 10**_MOST_DIGITS

# What Go calls the machines that old engines called as the kernel does.
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
    """No engine takes this image either; the text says why."""


def image_config(jsons: Sequence[bytes], diff_ids: Sequence[str]) -> bytes:
    """The configuration of the image whose chain this is, the base first.

    `jsons` are the bytes as stored, `diff_ids` the digests of the unpacked
    layers. Raises Unconvertible.
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
    """The configuration with `os` and `architecture` where they are missing, else as it is.

    OCI wants both; engines before 0.7 wrote no `os`, and `x86_64`, which is no
    name of Go's. Such an image has another id than those engines show.
    """
    image = _read(config)
    values = gojson.members(config)
    if not image["os"]:
        values["os"] = gojson.string(_SYSTEM)
    if (known := _ARCHITECTURES.get(image["architecture"])) is not None:
        values["architecture"] = gojson.string(known)
    return gojson.mapping(values)


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The chain id of each layer on those before it: what engines from 1.10 on call a layer."""
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
    """Whether engines write the JSON anew. Part by part, where what is no number counts as 0."""
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
    """One step; engines never set `empty_layer` for an image from v1."""
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
