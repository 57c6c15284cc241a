"""Large objects in Swift: separate segments, and a manifest that joins them to one object.

Segments are never moved. When all are stored, their list is written next to them. The commit stores
this list as a manifest (Swift's "static large object") under the key, without copying bytes. A plain
GET, such as that of 0.x, reads the joined object. Below `_v1registry`:

    segments/KEY/UPLOAD/00000001    the bytes
    segments/KEY/UPLOAD/part-0000   manifests of 1000 segments each, if there are more segments
    segments/KEY/UPLOAD/list        the list of all segments, as JSON
    segments/KEY/UPLOAD/whole       the list as a manifest, if the staged upload was read
    uploads/UPLOAD/KEY              the mark of an upload that is neither committed nor abandoned

The metadata of the object name its upload, so a commit can be repeated at any time. If `create` is
not atomic, two commit records may follow each other, and nodes may execute both at the same time (see
lib/images/commit.py). So replaced and abandoned segments stay for at least an hour: a late node may
commit them once more, then read the final commit record and commit the right layer.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any

from requests import Response

from v1registry.storage import Buffer, Stage, Stat, keys
from v1registry.storage.checksums import hex_md5
from v1registry.storage.errors import NotFound, StorageError, Unavailable
from v1registry.storage.parts import PartBuffer, send_parts
from v1registry.storage.remote import UPLOADS, RemoteStorage, split_handle, staged_key
from v1registry.storage.remote_blob import RemoteBlob
from v1registry.storage.retry import pauses
from v1registry.storage.swift.objects import Objects

_SEGMENTS = f"{keys.OURS}/segments"
_MOST_SEGMENTS = 1000  # of one manifest, unless a server's administrator says otherwise
_SETTLED = 3600.0  # seconds
_ATTEMPTS = 4  # to write a manifest: not all servers know segments that were written just now

_Manifest = list[dict[str, Any]]


class LargeObjectStorage(RemoteStorage):
    """Stages and commits layers; `objects` reads and writes plain objects."""

    def __init__(self, objects: Objects, buffer: PartBuffer) -> None:
        self._objects = objects
        self._buffer = buffer

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        upload = secrets.token_hex(8)
        handle = f"{upload} {key}"
        self._objects.put(staged_key(handle), b"")
        try:
            segments = self._send(_folder(key, upload), pieces)
            self._objects.put(_list(key, upload), json.dumps(segments).encode())
        except BaseException:
            with contextlib.suppress(StorageError):
                self._remove_segments(key, upload)
                self._objects.remove(staged_key(handle))
            raise
        return handle

    def _send(self, folder: str, pieces: Iterable[Buffer]) -> _Manifest:
        segments: dict[int, dict[str, Any]] = {}
        session = self._objects.session()  # shared by all threads that send segments

        def send(number: int, data: bytearray) -> None:
            if data:
                name = f"{folder}/{number:08}"
                etag = hex_md5(data)
                self._objects.put(name, data, etag=etag, session=session)
                segments[number] = self._entry(name, etag, len(data))

        send_parts(pieces, self._buffer, send)
        return self._short([entry for _, entry in sorted(segments.items())], folder)

    def _short(self, segments: _Manifest, folder: str) -> _Manifest:
        """Return at most as many entries as a manifest may have, by manifests of manifests."""
        if len(segments) <= _MOST_SEGMENTS:
            return segments
        parts = []
        for at in range(0, len(segments), _MOST_SEGMENTS):
            part = segments[at : at + _MOST_SEGMENTS]
            name = f"{folder}/part-{at // _MOST_SEGMENTS:04}"
            answer = self._put_manifest(name, part)
            size = sum(entry["size_bytes"] for entry in part)
            parts.append(self._entry(name, answer.headers["ETag"], size))
        return parts

    def _entry(self, name: str, etag: str, size: int) -> dict[str, Any]:
        return {"path": self._objects.path(name), "etag": etag.strip('"'), "size_bytes": size}

    def _put_manifest(self, key: str, segments: _Manifest, upload: str = "") -> Response:
        """Raise NotFound if the segments are gone."""
        if not segments:  # Swift refuses an empty manifest
            return self._objects.put(key, b"", upload=upload)
        data, query = json.dumps(segments).encode(), {"multipart-manifest": "put"}
        for pause in pauses(_ATTEMPTS):
            answer = self._objects.put(key, data, upload=upload, params=query, ok=(400,))
            if answer.ok:
                break
            if pause is None:
                kind = NotFound if "404" in answer.text else Unavailable
                raise kind(f"{key}: Swift refused the manifest: {answer.text[:300]}")
            time.sleep(pause)
        return answer

    def commit(self, handle: str) -> None:
        upload, key = split_handle(handle)
        found = self._objects.find(key)
        if found and found.upload == upload:
            # committed by another node, or by a process that ended before it removed the mark
            if not self._objects.remove(staged_key(handle)):
                raise NotFound(f"{handle}: committed before")
            return
        self._put_manifest(key, self._segments(key, upload), upload)
        self._objects.remove(staged_key(handle))
        if found and found.upload and _is_settled(found.stat):
            self._remove_segments(key, found.upload)

    def _segments(self, key: str, upload: str) -> _Manifest:
        """Return the list of an upload's segments. Raise NotFound if there is none."""
        with self._objects.open(_list(key, upload)) as blob:
            segments: _Manifest = json.loads(blob.read())
        return segments

    def abandon(self, handle: str) -> None:
        upload, key = split_handle(handle)
        if not self.is_staged(handle):
            return  # committed: the segments are in use, or may be later
        if not self._may_be_in_place(key, upload):
            received = self._objects.find(_list(key, upload))
            self._objects.remove(_list(key, upload))  # no process can commit it any more
            if received is None or _is_settled(received.stat):
                self._remove_segments(key, upload)
        self._objects.remove(staged_key(handle))

    def open_staged(self, handle: str) -> RemoteBlob:
        upload, key = split_handle(handle)
        if not self.is_staged(handle):
            raise NotFound(f"{handle}: committed or abandoned")
        whole = f"{_folder(key, upload)}/whole"
        if self._objects.find(whole) is None:
            self._put_manifest(whole, self._segments(key, upload))
        return self._objects.open(whole)

    def is_staged(self, handle: str) -> bool:
        return self._objects.find(staged_key(handle)) is not None

    def stages(self) -> Iterator[Stage]:
        for item in self._objects.items(f"{UPLOADS}/"):
            upload, _, key = item.key.removeprefix(f"{UPLOADS}/").partition("/")
            segments = self._objects.items(f"{_folder(key, upload)}/")
            modified = max([item.modified, *(segment.modified for segment in segments)])
            yield Stage(f"{upload} {key}", key, modified)

    def _delete_large(self, key: str) -> None:
        """Delete an object and its segments."""
        found = self._objects.find(key)
        self._objects.remove(key)
        if found and found.upload:
            self._remove_segments(key, found.upload)

    def clean(self, before: float) -> int:
        """Delete segments that no object uses: of replaced layers and failed uploads."""
        newest: dict[str, float] = {}
        for item in self._objects.items(f"{_SEGMENTS}/"):
            folder = item.key.rpartition("/")[0]
            newest[folder] = max(item.modified, newest.get(folder, 0.0))
        removed = super().clean(before)
        for folder, modified in newest.items():
            key, _, upload = folder.removeprefix(f"{_SEGMENTS}/").rpartition("/")
            if modified >= before or self.is_staged(f"{upload} {key}"):
                continue
            if not self._may_be_in_place(key, upload):
                self._remove_segments(key, upload)
                removed += 1
        return removed

    def _may_be_in_place(self, key: str, upload: str) -> bool:
        found = self._objects.find(key)
        return found is not None and found.may_be_of(upload)

    def _remove_segments(self, key: str, upload: str) -> None:
        """Delete an upload's segments, the list first: no process must find a list without them."""
        names = [item.key for item in self._objects.items(f"{_folder(key, upload)}/")]
        for name in sorted(names, key=lambda name: not name.endswith("/list")):
            self._objects.remove(name)


def _is_settled(stat: Stat) -> bool:
    """Return whether it is so old that no process can still execute a commit record from then."""
    return stat.modified < time.time() - _SETTLED


def _folder(key: str, upload: str) -> str:
    return f"{_SEGMENTS}/{key}/{upload}"


def _list(key: str, upload: str) -> str:
    return f"{_folder(key, upload)}/list"
