"""A layer that is verified against its image's checksum while it is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from v1registry.lib.images.images import Image
from v1registry.storage.errors import CorruptObject

_SIMPLE = "sha256:"  # of JSON and layer; a TarSum does not cover the layer's bytes


def checked(pieces: Iterator[bytes], image: Image) -> Iterator[bytes]:
    """Yield the pieces of the image's layer, the last one only if the checksum is right.

    Otherwise raise CorruptObject. Then the client receives fewer bytes than announced and never takes
    the layer for complete. An image that Docker before 0.10 pushed may have no such checksum: its
    layer is sent without verification.
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
        raise CorruptObject(f"{image.id}: the layer's bytes do not match the image's checksum")
    yield held
