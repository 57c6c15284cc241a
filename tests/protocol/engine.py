"""Images made of small tar archives, and their push as engines do it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests import raw
from tests.live_server import Server


@dataclass(frozen=True)
class Image:
    """An image that can be pushed; `layer` as it goes over the wire."""

    id: str
    json: bytes
    layer: bytes
    ancestry: tuple[str, ...]

    @property
    def checksum(self) -> str:
        """The simple checksum of protocol-v1.md section 3: of the JSON, a line feed, and the layer."""
        return "sha256:" + hashlib.sha256(self.json + b"\n" + self.layer).hexdigest()

    def path(self, part: str) -> str:
        return f"/v1/images/{self.id}/{part}"


def image_id(word: str) -> str:
    """Return an image id that the word determines."""
    return hashlib.sha256(word.encode()).hexdigest()


def image(word: str, parent: Image | None = None, layer: bytes | None = None) -> Image:
    """Return an image with the id of `word`. Its layer is a gzipped tar unless given."""
    document = {"id": image_id(word), "comment": f"image {word}"}
    if parent is not None:
        document["parent"] = parent.id
    if layer is None:
        layer = gzip.compress(tar({f"{word}.txt": word.encode()}), mtime=0)
    ancestry = (image_id(word), *(parent.ancestry if parent else ()))
    # blanks that no serializer would write: the bytes must come back as they are
    data = json.dumps(document, indent=1).encode() + b" \n"
    return Image(image_id(word), data, layer, ancestry)


def tar(files: Mapping[str, bytes]) -> bytes:
    """A plain tar of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), 1400000000, 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def upload(server: Server, image: Image) -> None:
    """Send JSON, layer in chunks, and checksum. Each response must be 200."""
    expect(raw.put(server, image.path("json"), image.json))
    expect(raw.put(server, image.path("layer"), image.layer, chunk=4096))
    checksum = {"X-Docker-Checksum-Payload": image.checksum}
    expect(raw.put(server, image.path("checksum"), headers=checksum))


def push(server: Server, repository: str, images: Sequence[Image], tags: Sequence[str]) -> None:
    """A whole push as engines 0.10 to 1.13 do it; `images` base first, tags go to the last."""
    listed = json.dumps([{"id": image.id} for image in images]).encode()
    expect(raw.put(server, f"/v1/repositories/{repository}/", listed))
    for image in images:
        if raw.get(server, image.path("json")).status != 200:
            upload(server, image)
    for tag in tags:
        expect(raw.put(server, f"/v1/repositories/{repository}/tags/{tag}", quoted(images[-1].id)))
    expect(raw.put(server, f"/v1/repositories/{repository}/images", b"[]"), 204)


def quoted(text: str) -> bytes:
    return json.dumps(text).encode()


def expect(answer: raw.Answer, status: int = 200) -> raw.Answer:
    assert answer.status == status, str(answer)
    return answer
