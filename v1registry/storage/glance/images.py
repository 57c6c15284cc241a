"""The part of Glance's v2 API that the driver uses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from v1registry.storage import Buffer
from v1registry.storage.checksums import of_glance
from v1registry.storage.errors import CorruptObject, NotFound, StorageError, Unavailable
from v1registry.storage.glance.client import GlanceClient
from v1registry.storage.remote_blob import PIECE, Body, StoreResponse, part_of

OWN_ID = "docker_image_id"  # property with the v1 id: v2 cannot write the property `id` of 0.x

_KIND = {"disk_format": "raw", "container_format": "docker"}  # as in 0.x
_PATCH = "application/openstack-images-v2.1-json-patch"
_PAGE = 500


@dataclass(frozen=True, slots=True)
class GlanceImage:
    """An image in Glance. Without data, `size` is None and `waits` says that it may get them."""

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
        """Whether this registry or 0.x made it."""
        return OWN_ID in self.properties or "meta_json" in self.properties


class GlanceImages:
    """Reads and writes images by their ids in Glance."""

    def __init__(self, client: GlanceClient) -> None:
        self._client = client

    def find(self, uuid: str, key: str) -> GlanceImage | None:
        """Return the image, or None."""
        answer = self._client.request("GET", _path(uuid), key, ok=(404,))
        return None if answer.status_code == 404 else _record(_object(answer, key))

    def list(self, key: str, **filters: str) -> Iterator[GlanceImage]:
        """Yield the images that match the filters, page by page."""
        after: dict[str, str] = {}
        while True:
            wanted = {**_KIND, **filters, **after, "limit": str(_PAGE)}
            page = _object(self._client.request("GET", "/v2/images", key, params=wanted), key)
            if not isinstance(page.get("images"), list):
                raise CorruptObject(f"{key}: not a list of images")
            found = [_record(image) for image in page["images"]]
            yield from found
            if not page.get("next") or not found:
                return
            after = {"marker": found[-1].id}

    def create(self, uuid: str, key: str) -> None:
        """Make a private image without data."""
        body = {"id": uuid, "visibility": "private", **_KIND}
        # 409: the first attempt may have succeeded although its response was lost
        self._client.request("POST", "/v2/images", key, json=body, ok=(409,))

    def upload(self, uuid: str, key: str, pieces: Iterable[Buffer]) -> int:
        """Give an image its data, once; return its size. Raise what `pieces` raises."""
        sent, sum = 0, hashlib.md5(usedforsecurity=False)

        def counted() -> Iterator[Buffer]:
            nonlocal sent
            for piece in pieces:
                sent += len(piece)
                sum.update(piece)
                yield piece

        self._client.upload(f"{_path(uuid)}/file", key, counted())
        record = self.find(uuid, key)
        if record is None or record.size != sent:
            size = None if record is None else record.size
            raise Unavailable(f"{key}: {sent} bytes were sent, but Glance has {size} in {uuid}")
        if record.properties.get("checksum") not in (None, sum.hexdigest()):
            raise CorruptObject(f"{key}: Glance has other bytes in {uuid} than were sent")
        return sent

    def update(self, uuid: str, key: str, changes: Mapping[str, str | None]) -> None:
        """Set attributes and properties. Raise NotFound if there is no such image."""
        self._patch(uuid, key, [_set(name, value) for name, value in changes.items()])

    def drop(self, uuid: str, key: str, name: str) -> None:
        """Delete a property; a missing one is no error."""
        self._patch(uuid, key, [{"op": "remove", "path": f"/{name}"}], ok=(409,))

    def delete(self, uuid: str, key: str) -> None:
        """Delete an image; a missing one is no error."""
        self._client.request("DELETE", _path(uuid), key, ok=(404,))

    def open(self, uuid: str, key: str, start: int) -> StoreResponse:
        """Open the data from a byte on. Raise NotFound if there is none."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        path = f"{_path(uuid)}/file"
        answer = self._client.request("GET", path, key, headers=headers, stream=True)
        if answer.status_code == 204:
            answer.close()
            raise NotFound(f"{key}: {uuid} has no data")
        size = self._size(answer, uuid, key, start)
        if start and answer.status_code == 200:  # an older Glance without ranges
            _skip(answer.raw, start)
        return StoreResponse(size, uuid, answer.raw, None if start else of_glance(answer.headers))

    def _size(self, answer: requests.Response, uuid: str, key: str, start: int) -> int:
        """Return the size of the whole data. Raise CorruptObject for a wrong range or status."""
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
            raise CorruptObject(
                f"{key}: Glance answered with status {answer.status_code} instead of the data of {uuid}"
            )
        except StorageError:
            answer.close()
            raise

    def _patch(
        self, uuid: str, key: str, changes: Sequence[Mapping[str, Any]], ok: Collection[int] = ()
    ) -> None:
        headers = {"Content-Type": _PATCH}
        data = json.dumps(changes)
        self._client.request("PATCH", _path(uuid), key, data=data, headers=headers, ok=ok)


def _skip(body: Body, size: int) -> None:
    while size and (piece := body.read(min(PIECE, size))):
        size -= len(piece)


def _path(uuid: str) -> str:
    return f"/v2/images/{uuid}"


def _set(name: str, value: str | None) -> dict[str, Any]:
    # Glance supports `add`, which also replaces, for properties only
    known = name in ("name", "visibility")
    return {"op": "replace" if known else "add", "path": f"/{name}", "value": value}


def _object(answer: requests.Response, key: str) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError as error:
        raise CorruptObject(f"{key}: the response is not JSON, from {answer.url}") from error
    if not isinstance(found, dict):
        raise CorruptObject(f"{key}: the response is not Glance's, from {answer.url}")
    return found


def _record(image: Mapping[str, Any]) -> GlanceImage:
    """Return the image in a response. Raise CorruptObject if it is not one."""
    try:
        return _recorded(image)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptObject(f"the response is not an image of Glance: {error!r}") from error


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
