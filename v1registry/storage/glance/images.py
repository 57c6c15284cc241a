"""Glance's images by its v2 API, as far as the driver needs it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from v1registry.storage import Buffer
from v1registry.storage.errors import CorruptObject, NotFound, StorageError, Unavailable
from v1registry.storage.glance.client import GlanceClients, storage_error
from v1registry.storage.remote import PIECE, Body, StoreResponse, part_of
from v1registry.storage.sums import of_glance

OWN_ID = "docker_image_id"  # the v1 id, since v2 can't write 0.x's property `id`

_KIND = {"disk_format": "raw", "container_format": "docker"}  # as in 0.x
_PATCH = "application/openstack-images-v2.1-json-patch"
_PAGE = 500


@dataclass(frozen=True, slots=True)
class GlanceImage:
    """What Glance knows of an image. `size` is None before its data has come; `waits` is for them."""

    id: str
    size: int | None
    created: float
    name: str | None
    owner: str | None
    public: bool
    waits: bool
    properties: Mapping[str, Any]

    @property
    def is_ours(self) -> bool:
        """Whether a registry made it, this one or 0.x."""
        return OWN_ID in self.properties or "meta_json" in self.properties


class GlanceImages:
    """Reads and writes images, by their ids in Glance."""

    def __init__(self, clients: GlanceClients) -> None:
        self._clients = clients

    def find(self, uuid: str, key: str) -> GlanceImage | None:
        """The image, or None."""
        answer = self._clients.get().request("GET", _path(uuid), key, fine=(404,))
        return None if answer.status_code == 404 else _record(_object(answer, key))

    def list(self, key: str, **filters: str) -> Iterator[GlanceImage]:
        """The images that these filters let through, page by page."""
        client = self._clients.get()
        after: dict[str, str] = {}
        while True:
            wanted = {**_KIND, **filters, **after, "limit": str(_PAGE)}
            page = _object(client.request("GET", "/v2/images", key, params=wanted), key)
            if not isinstance(page.get("images"), list):
                raise CorruptObject(f"{key}: not a list of images")
            found = [_record(image) for image in page["images"]]
            yield from found
            if not page.get("next") or not found:
                return
            after = {"marker": found[-1].id}

    def create(self, uuid: str, key: str) -> None:
        """Make an image without data, which nobody else sees."""
        body = {"id": uuid, "visibility": "private", **_KIND}
        # 409: a first try may have come through though its answer was lost
        self._clients.get().request("POST", "/v2/images", key, json=body, fine=(409,))

    def upload(self, uuid: str, key: str, pieces: Iterable[Buffer]) -> int:
        """Give an image its data, once; return its size. Raise what `pieces` raises."""
        sent, sum = 0, hashlib.md5(usedforsecurity=False)

        def counted() -> Iterator[Buffer]:
            nonlocal sent
            for piece in pieces:
                sent += len(piece)
                sum.update(piece)
                yield piece

        self._clients.get().upload(f"{_path(uuid)}/file", key, counted())
        record = self.find(uuid, key)
        if record is None or record.size != sent:
            size = None if record is None else record.size
            raise Unavailable(f"{key}: of {sent} bytes sent, Glance has {size} in {uuid}")
        if record.properties.get("checksum") not in (None, sum.hexdigest()):
            raise CorruptObject(f"{key}: Glance has other bytes in {uuid} than were sent")
        return sent

    def update(self, uuid: str, key: str, changes: Mapping[str, str | None]) -> None:
        """Set attributes and properties. Raise NotFound if there is no such image."""
        self._patch(uuid, key, [_set(name, value) for name, value in changes.items()])

    def drop(self, uuid: str, key: str, name: str) -> None:
        """Remove a property; one that is not there is no error."""
        self._patch(uuid, key, [{"op": "remove", "path": f"/{name}"}], fine=(409,))

    def delete(self, uuid: str, key: str) -> None:
        """Delete an image; one that is not there is no error."""
        self._clients.get().request("DELETE", _path(uuid), key, fine=(404,))

    def open(self, uuid: str, key: str, start: int) -> StoreResponse:
        """Its data from a byte on. Raise NotFound if there is none."""
        more = {"Range": f"bytes={start}-"} if start else {}
        headers = {"Accept-Encoding": "identity", **more}
        path = f"{_path(uuid)}/file"
        answer = self._clients.get().request("GET", path, key, headers=headers, stream=True)
        if answer.status_code == 204:
            answer.close()
            raise NotFound(f"{key}: {uuid} has no data")
        size = self._size(answer, uuid, key, start)
        if start and answer.status_code == 200:  # a Glance before ranges
            _skip(answer.raw, start)
        return StoreResponse(size, uuid, answer.raw, None if start else of_glance(answer.headers))

    def _size(self, answer: requests.Response, uuid: str, key: str, start: int) -> int:
        """The whole object's; also look that a part begins where we asked it to."""
        try:
            if answer.status_code == 206:
                return part_of(answer.headers.get("Content-Range"), start)
            if answer.status_code == 200:
                told = answer.headers.get("Content-Length", "")
                if told.isdecimal():
                    return int(told)
                record = self.find(uuid, key)
                if not told and record is not None and record.size is not None:
                    return record.size
            raise CorruptObject(f"{key}: no data of {uuid}, but a status of {answer.status_code}")
        except StorageError:
            answer.close()
            raise

    def _patch(
        self, uuid: str, key: str, changes: Sequence[Mapping[str, Any]], fine: Iterable[int] = ()
    ) -> None:
        headers = {"Content-Type": _PATCH}
        data = json.dumps(changes)
        self._clients.get().request(
            "PATCH", _path(uuid), key, data=data, headers=headers, fine=fine
        )


def _skip(body: Body, size: int) -> None:
    while size and (piece := body.read(min(PIECE, size))):
        size -= len(piece)


def _path(uuid: str) -> str:
    return f"/v2/images/{uuid}"


def _set(name: str, value: str | None) -> dict[str, Any]:
    # `add` also replaces, but Glance knows it for properties only
    known = name in ("name", "visibility")
    return {"op": "replace" if known else "add", "path": f"/{name}", "value": value}


def _object(answer: requests.Response, key: str) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError as error:
        raise storage_error(error, f"{key}: no JSON from {answer.url}") from error
    if not isinstance(found, dict):
        raise CorruptObject(f"{key}: not what Glance answers, from {answer.url}")
    return found


def _record(image: Mapping[str, Any]) -> GlanceImage:
    """Raise Damaged if it is none."""
    try:
        return _recorded(image)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptObject(f"not an image as Glance shows it: {error!r}") from error


def _recorded(image: Mapping[str, Any]) -> GlanceImage:
    return GlanceImage(
        id=image["id"],
        size=image["size"] if image["status"] in ("active", "deactivated") else None,
        created=datetime.fromisoformat(image["created_at"]).timestamp(),
        name=image.get("name"),
        owner=image.get("owner"),
        public=image["visibility"] == "public",
        waits=image["status"] == "queued",
        properties=image,
    )
