"""The driver for Google Cloud Storage by its own API, with an account's key or a machine's role.

A layer is staged as an object below `_v1registry/uploads/`. The commit moves it to its key without
copying. A handle is the upload's token and the key.

The store has no objects for folders: a folder exists if a key begins with its name.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import google_crc32c
from google.api_core.exceptions import PreconditionFailed
from google.cloud.storage import Blob

from v1registry.storage import Buffer, ListEntry, Stage, Stat, exists
from v1registry.storage.checksums import of_google
from v1registry.storage.errors import CorruptObject, NotFound, Refused, StorageError
from v1registry.storage.gcs.client import FAILURES, GcsClient, attempt, storage_error
from v1registry.storage.gcs.resumable_upload import CHUNK_UNIT, ResumableUpload, send_pieces
from v1registry.storage.parts import PartBuffer
from v1registry.storage.remote import (
    UPLOADS,
    URL_SECONDS,
    RemoteStorage,
    prefix,
    split_handle,
    staged_key,
    tags_first,
)
from v1registry.storage.remote_blob import RemoteBlob, StoreResponse, response_of

_LISTED = {"kind", "items", "prefixes", "nextPageToken"}  # the fields of a listing
_BATCH = 100  # objects that one request deletes; the limit of GCS
_TYPE = "application/octet-stream"
# Otherwise GCS lets caches keep publicly readable objects for an hour, tags included.
_CACHING = "no-store"

_Page = tuple[Sequence[Blob], Sequence[str]]  # objects and folders


class GcsStorage(RemoteStorage):
    """Keeps objects in one bucket, below `storage_path`. Options: config/drivers/gcs.py."""

    unless_atomic = "gcs_conditional_writes: false (it ignores ifGenerationMatch)"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._client = GcsClient(options)
        self._bucket = options["boto_bucket"]
        self._prefix = prefix(options["storage_path"])
        chunk = options["gcs_chunk_size"] // CHUNK_UNIT * CHUNK_UNIT
        self._buffer = PartBuffer(options["gcs_upload_memory"], chunk)
        self._class = options["gcs_storage_class"]
        self.creates_atomically = options["gcs_conditional_writes"]

    @property
    def place(self) -> str:
        return str(self._bucket)

    def _blob(self, key: str) -> Blob:
        return self._client.bucket.blob(self._prefix + key)

    def _once(self, operation: Callable[..., Any], **parameters: Any) -> Any:
        """Call a method of the library without its own retries."""
        return operation(retry=None, timeout=self._client.timeout, **parameters)

    def _call(self, key: str, operation: Callable[..., Any], **parameters: Any) -> Any:
        """Call a method of the library; repeat it as `attempt` does."""
        return attempt(key, lambda: self._once(operation, **parameters))

    # -- reading -----------------------------------------------------------

    def open(self, key: str) -> RemoteBlob:
        name = quote(self._prefix + key, safe="")
        address = f"/download/storage/v1/b/{self._bucket}/o/{name}?alt=media"

        def fetch(start: int, version: str | None) -> StoreResponse:
            headers = {"Accept-Encoding": "gzip"}  # otherwise GCS decompresses some objects
            if start:
                headers["Range"] = f"bytes={start}-"
            url = f"{address}&generation={version}" if version else address
            send = self._client.send
            answer = attempt(key, lambda: send("GET", url, headers=headers, stream=True))
            found = answer.headers.get("X-Goog-Generation", "")
            return response_of(key, answer, start, found, partial(of_google, crc32c=_crc32c))

        return RemoteBlob(key, fetch, FAILURES, storage_error)

    def stat(self, key: str) -> Stat:
        blob = self._blob(key)
        self._call(key, blob.reload)
        if blob.size is None:
            raise CorruptObject(f"{key}: the response has no size")
        return Stat(blob.size, _time(blob))

    def list(self, folder: str) -> Iterator[ListEntry]:
        start = f"{self._prefix}{folder}/"
        for blobs, folders in self._pages(folder, delimiter="/"):
            for name in folders:
                yield ListEntry(name[len(start) : -1], True)
            for blob in blobs:
                if blob.name != start:  # a folder marker of another program
                    yield ListEntry(blob.name[len(start) :], False)

    def _pages(self, folder: str, **parameters: Any) -> Iterator[_Page]:
        """Yield the objects and folders below a folder, one call with its retries for each page."""
        token: str | None = None

        def ask() -> tuple[Sequence[Blob], Sequence[str], str | None]:
            found = self._once(
                self._client.bucket.list_blobs,
                prefix=f"{self._prefix}{folder}/",
                page_token=token,
                fields="items(name,timeCreated),prefixes,nextPageToken",
                **parameters,
            )
            page = next(found.pages, None)
            if page is None or not _is_listing(page.raw_page):
                raise CorruptObject(f"{folder}: not a listing")
            return list(page), sorted(found.prefixes), found.next_page_token

        while True:
            blobs, folders, token = attempt(folder, ask)
            yield blobs, folders
            if token is None:
                return

    def url(self, key: str) -> str | None:
        signer = self._client.signer
        if signer is None:
            return None
        blob = self._blob(key)
        return attempt(
            key,
            lambda: str(
                blob.generate_signed_url(
                    version="v4",
                    expiration=timedelta(seconds=URL_SECONDS),
                    method="GET",
                    credentials=signer,
                )
            ),
        )

    # -- writing small values ----------------------------------------------

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        attempt(key, lambda: self._upload(key, data))

    def _upload(self, key: str, data: bytes, storage_class: str | None = None, **when: Any) -> None:
        blob = self._blob(key)
        blob.cache_control = _CACHING
        if storage_class:
            blob.storage_class = storage_class
        self._once(blob.upload_from_string, data=data, content_type=_TYPE, **when)

    def _create(self, key: str, data: bytes) -> bool:
        condition: dict[str, Any] = {"if_generation_match": 0} if self.creates_atomically else {}
        tries = 0

        def upload() -> bool:
            nonlocal tries
            tries += 1
            try:
                self._upload(key, data, **condition)
            except PreconditionFailed:
                return False
            return True

        # the first attempt may have succeeded although its response was lost
        return attempt(key, upload) or (tries > 1 and self.get(key) == data)

    def delete(self, key: str, *, durable: bool = True) -> None:
        with contextlib.suppress(NotFound):
            self._call(key, self._blob(key).delete)

    def delete_folder(self, folder: str) -> None:
        """Delete in batches, tags first; then delete the rest one by one, to raise the reason."""
        names = tags_first(self._names(folder))
        tags = sum(name.rpartition("/")[2].startswith("tag_") for name in names)
        for part in (names[:tags], names[tags:]):
            for at in range(0, len(part), _BATCH):
                self._delete_all(part[at : at + _BATCH])
        for name in self._names(folder):
            self.delete(name)

    def _names(self, folder: str) -> Sequence[str]:
        pages = self._pages(folder)
        return [blob.name[len(self._prefix) :] for blobs, _ in pages for blob in blobs]

    def _delete_all(self, names: Sequence[str]) -> None:
        bucket = self._client.bucket
        with contextlib.suppress(*FAILURES), bucket.client.batch(raise_exception=False):
            for name in names:
                self._once(bucket.blob(self._prefix + name).delete)

    # -- writing large objects ---------------------------------------------

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        handle = f"{secrets.token_hex(12)} {key}"

        def put(data: bytes) -> None:
            attempt(key, lambda: self._upload(staged_key(handle), data, self._class))

        try:
            send_pieces(pieces, self._buffer, put, lambda: self._session(handle))
        except BaseException:
            with contextlib.suppress(StorageError):
                self.abandon(handle)
            raise
        return handle

    def _session(self, handle: str) -> ResumableUpload:
        properties = {"contentType": _TYPE, "cacheControl": _CACHING}
        if self._class:
            properties["storageClass"] = self._class
        name = self._prefix + staged_key(handle)
        return ResumableUpload(self._client, self._bucket, name, properties)

    def commit(self, handle: str) -> None:
        """Move a staged layer to its key.

        One call does it (objects.move): the source is then neither kept as "soft deleted" nor charged
        as "deleted early". If a server does not know that call, rewrite and delete the object. Raise
        NotFound if the source is gone; the caller checks which layer is in place.
        """
        key = split_handle(handle)[1]
        source, target = self._blob(staged_key(handle)), self._blob(key)
        bucket = self._client.bucket
        try:
            self._call(key, bucket.move_blob, blob=source, new_name=target.name)
        except (NotFound, Refused):
            self._rewrite(key, source, target)

    def _rewrite(self, key: str, source: Blob, target: Blob) -> None:
        if self._class:
            target.storage_class = self._class
        target.cache_control, target.content_type = _CACHING, _TYPE
        token: str | None = None
        is_copied = False
        while not is_copied:  # GCS copies a large object to another storage class in steps
            token = self._call(key, target.rewrite, source=source, token=token)[0]
            is_copied = token is None
        with contextlib.suppress(NotFound):
            self._call(key, source.delete)

    def abandon(self, handle: str) -> None:
        with contextlib.suppress(NotFound):
            self.delete(staged_key(handle))

    def open_staged(self, handle: str) -> RemoteBlob:
        return self.open(staged_key(handle))

    def is_staged(self, handle: str) -> bool:
        return exists(self, staged_key(handle))

    def stages(self) -> Iterator[Stage]:
        start = f"{self._prefix}{UPLOADS}/"
        for blobs, _ in self._pages(UPLOADS):
            for blob in blobs:
                token, _, key = blob.name[len(start) :].partition("/")
                if key:
                    yield Stage(f"{token} {key}", key, _time(blob))


def _is_listing(page: Mapping[str, Any]) -> bool:
    """Return whether a page has the fields of a listing only: the library accepts any JSON."""
    return not page.keys() - _LISTED and all("name" in item for item in page.get("items", ()))


def _time(blob: Blob) -> float:
    try:
        return float(blob.time_created.timestamp())
    except (AttributeError, ValueError) as error:
        raise CorruptObject(f"{blob.name}: the response has no time") from error


def _crc32c(data: bytes) -> bytes:
    return bytes(google_crc32c.Checksum(data).digest())
