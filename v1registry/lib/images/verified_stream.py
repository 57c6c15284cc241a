"""A layer on its way out, held against its image's checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from v1registry.lib.images.images import Image
from v1registry.storage.errors import CorruptObject

_SIMPLE = "sha256:"  # begins the checksum of JSON and layer; a TarSum says nothing of the bytes


def checked(pieces: Iterator[bytes], image: Image) -> Iterator[bytes]:
    """Pass all pieces of the image's layer on, but the last only if their checksum is the image's.

    Else raise Damaged, so that whoever receives it has less than was announced, and never takes it
    for whole. An image that engines before 0.10 pushed may have no such checksum; its layer is
    passed on as it is.
    """
    known = {sum for sum in image.checksums if sum.startswith(_SIMPLE)}
    if not known:
        yield from pieces
        return
    sum, held = hashlib.sha256(image.json + b"\n"), b""
    for piece in pieces:
        sum.update(piece)
        if held:
            yield held
        held = piece
    if f"{_SIMPLE}{sum.hexdigest()}" not in known:
        raise CorruptObject(f"{image.id}: the layer's bytes are not those of its checksum")
    yield held
