"""The driver for S3: AWS, Ceph's gateway, and other stores with its protocol.

A layer is staged as a multipart upload to its final key. It stays invisible until the upload is
completed, which is the commit; no bytes are copied. A handle is the upload id and the key. The commit
asks the store for the list of parts. unconditional.py is for stores without conditional writes.

The store has no objects for folders: a folder exists if a key begins with its name.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from v1registry.storage import Buffer, ListEntry, Stage, Stat, keys
from v1registry.storage.checksums import of_s3
from v1registry.storage.errors import CorruptObject, NotFound, Refused, StorageError, Unavailable
from v1registry.storage.parts import PartBuffer, send_parts
from v1registry.storage.remote import (
    CHECK,
    URL_SECONDS,
    RemoteStorage,
    prefix,
    split_handle,
    tags_first,
)
from v1registry.storage.remote_blob import RemoteBlob, StoreResponse, part_of
from v1registry.storage.retry import pauses
from v1registry.storage.s3.client import FAILURES, S3Clients, S3Errors, status, storage_error
from v1registry.storage.s3.cloudfront import CloudFront

_MOST_PARTS = 10_000  # of one upload; the limit of S3
_BATCH = 1000  # keys that one request deletes; the limit of S3
_ATTEMPTS = 4  # while another node writes the same key or completes the same upload


class S3Storage(RemoteStorage):
    """Keeps objects in one bucket, below `storage_path`. Options: config/drivers/s3.py."""

    reads_stages = False
    unless_atomic = "s3_conditional_writes: false (it ignores If-None-Match)"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._clients = S3Clients(options, self._made)
        self._bucket = options["boto_bucket"]
        self._prefix = prefix(options["storage_path"])
        self._buffer = PartBuffer(options["s3_upload_memory"], options["s3_part_size"])
        self._settings = {"ServerSideEncryption": "AES256"} if options["s3_encrypt"] else {}
        self._etag_is_md5 = options["s3_etag_is_md5"]
        storage_class = options["s3_storage_class"]
        self._layers = {
            **self._settings,
            **({"StorageClass": storage_class} if storage_class else {}),
        }
        self.creates_atomically = options["s3_conditional_writes"]
        # gateways without SigV4 do not support the newer listing either
        self._listing = "list_objects_v2" if options["s3_use_sigv4"] else "list_objects"
        front = [options[f"cloudfront.{name}"] for name in ("base", "keyid", "keysecret")]
        self._cloudfront = CloudFront(*front) if all(front) else None

    def _made(self, client: Any) -> None:
        """Change a new boto3 client; for subclasses for stores that differ from S3."""

    @property
    def place(self) -> str:
        return str(self._bucket)

    def _call(self, operation: str, key: str, **parameters: Any) -> Any:
        return getattr(self._clients.get(), operation)(
            Bucket=self._bucket, Key=self._prefix + key, **parameters
        )

    # -- reading -----------------------------------------------------------

    def open(self, key: str) -> RemoteBlob:
        def fetch(start: int, version: str | None) -> StoreResponse:
            more = {"Range": f"bytes={start}-", "IfMatch": version} if version else {}
            answer = self._call("get_object", key, **more)
            if version:
                size = part_of(answer.get("ContentRange"), start)
                return StoreResponse(size, answer["ETag"], answer["Body"])
            told = answer["ResponseMetadata"]["HTTPHeaders"]
            sum = of_s3(told, etag_is_md5=self._etag_is_md5)
            return StoreResponse(answer["ContentLength"], answer["ETag"], answer["Body"], sum)

        with S3Errors(key):
            return RemoteBlob(key, fetch, FAILURES, storage_error)

    def stat(self, key: str) -> Stat:
        with S3Errors(key):
            answer = self._call("head_object", key)
        return Stat(answer["ContentLength"], answer["LastModified"].timestamp())

    def list(self, folder: str) -> Iterator[ListEntry]:
        start = f"{self._prefix}{folder}/"
        for page in self._pages(self._listing, folder, Prefix=start, Delimiter="/"):
            for item in page.get("CommonPrefixes", ()):
                yield ListEntry(item["Prefix"][len(start) : -1], True)
            for item in page.get("Contents", ()):
                if item["Key"] != start:  # a folder marker of another program
                    # the listing of a store without conditional writes may be stale
                    md5 = item["ETag"].strip('"') if self.creates_atomically else None
                    yield ListEntry(item["Key"][len(start) :], False, md5)

    def url(self, key: str) -> str | None:
        if self._cloudfront:
            return self._cloudfront.url(self._prefix + key)
        with S3Errors(key):
            return str(
                self._clients.get().generate_presigned_url(
                    "get_object",
                    Params={"Bucket": self._bucket, "Key": self._prefix + key},
                    ExpiresIn=URL_SECONDS,
                )
            )

    # -- writing small values ----------------------------------------------

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        with S3Errors(key):
            self._call("put_object", key, Body=data, **self._settings)

    def _create(self, key: str, data: bytes) -> bool:
        condition = {"IfNoneMatch": "*"} if self.creates_atomically else {}
        for pause in pauses(_ATTEMPTS):
            try:
                with S3Errors(key):
                    self._call("put_object", key, Body=data, **condition, **self._settings)
            except StorageError as error:
                cause = error.__cause__ or error
                if status(cause) == 412:
                    # the first attempt may have succeeded although its response was lost
                    metadata = getattr(cause, "response", {}).get("ResponseMetadata", {})
                    return bool(metadata.get("RetryAttempts")) and self.get(key) == data
                if status(cause) != 409 or pause is None:
                    raise
                time.sleep(pause)  # AWS: another put is running, and may fail yet
            else:
                return True
        raise AssertionError("unreachable")

    def delete(self, key: str, *, durable: bool = True) -> None:
        with S3Errors(key), contextlib.suppress(NotFound):
            self._call("delete_object", key)

    def delete_folder(self, folder: str) -> None:
        start = f"{self._prefix}{folder}/"
        pages = self._pages(self._listing, folder, Prefix=start)
        names = tags_first([item["Key"] for page in pages for item in page.get("Contents", ())])
        for at in range(0, len(names), _BATCH):
            self._delete_all(folder, names[at : at + _BATCH])

    def _delete_all(self, folder: str, names: Sequence[str]) -> None:
        with S3Errors(folder):
            answer = self._clients.get().delete_objects(
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": name} for name in names], "Quiet": True},
            )
        for error in answer.get("Errors", ()):
            if error.get("Code") not in ("NoSuchKey", "NotFound"):
                raise Refused(f"{error.get('Key')}: {error.get('Code')} {error.get('Message', '')}")

    # -- writing large objects ---------------------------------------------

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        return self._stage(key, pieces)

    def _stage(self, key: str, pieces: Iterable[Buffer], **more: Any) -> str:
        with S3Errors(key):
            upload = self._call("create_multipart_upload", key, **self._layers, **more)["UploadId"]
        handle = f"{upload} {key}"
        try:
            self._send(key, upload, pieces)
        except BaseException:
            with contextlib.suppress(StorageError):
                self._abort(key, upload)
            raise
        return handle

    def _send(self, key: str, upload: str, pieces: Iterable[Buffer]) -> None:
        client = self._clients.get()  # shared by all threads that send parts of this upload

        def send(number: int, data: bytearray) -> None:
            if number > _MOST_PARTS:
                raise Refused(f"{key}: more than {_MOST_PARTS} parts: increase s3_part_size")
            where = {"Bucket": self._bucket, "Key": self._prefix + key, "UploadId": upload}
            with S3Errors(key):
                client.upload_part(**where, PartNumber=number, Body=data)

        send_parts(pieces, self._buffer, send)

    def commit(self, handle: str) -> None:
        upload, key = split_handle(handle)
        for pause in pauses(_ATTEMPTS):
            # Raises NotFound if the upload is gone; then the caller checks which layer is in place.
            listed = self._parts(key, upload)
            parts = [{name: part[name] for name in ("PartNumber", "ETag")} for part in listed]
            try:
                if [part["PartNumber"] for part in parts] != list(range(1, len(parts) + 1)):
                    raise CorruptObject(f"{key}: the list of its parts has gaps")
                where = {"UploadId": upload, "MultipartUpload": {"Parts": parts}}
                with S3Errors(key):
                    self._call("complete_multipart_upload", key, **where)
            except Unavailable:
                # Ceph answers 500 to a second or a simultaneous completion. Then the upload is gone
                # now, or soon.
                if pause is None:
                    raise
                time.sleep(pause)
            else:
                return

    def abandon(self, handle: str) -> None:
        upload, key = split_handle(handle)
        self._abort(key, upload)

    def _abort(self, key: str, upload: str) -> None:
        with contextlib.suppress(NotFound), S3Errors(key):
            self._call("abort_multipart_upload", key, UploadId=upload)

    def is_staged(self, handle: str) -> bool:
        # Not by its parts: Swift's S3 gateway lists them even after the upload was completed.
        upload, key = split_handle(handle)
        pages = self._pages("list_multipart_uploads", key, Prefix=self._prefix + key)
        return any(
            found["UploadId"] == upload for page in pages for found in page.get("Uploads", ())
        )

    def open_staged(self, handle: str) -> RemoteBlob:
        raise NotFound(f"{handle}: S3 cannot read an upload that is not completed")

    def stages(self) -> Iterator[Stage]:
        """Yield uploads below `images/` only: other programs may use the bucket as well."""
        return self._uploads(keys.IMAGES)

    def prepare(self) -> None:
        """Check also that a multipart upload works, which differs in some S3 emulators."""
        super().prepare()
        key = f"{keys.OURS}/{CHECK}{secrets.token_hex(8)}"
        handle = self._stage(key, [b"true"])
        try:
            S3Storage.commit(self, handle)
            self.delete(key)
        except BaseException:
            with contextlib.suppress(StorageError):
                S3Storage.abandon(self, handle)
            raise

    def clean(self, before: float) -> int:
        removed = super().clean(before)
        for upload in self._uploads(keys.OURS, CHECK):
            if upload.modified < before:
                S3Storage.abandon(self, upload.handle)
                removed += 1
        return removed

    def _uploads(self, folder: str, name: str = "") -> Iterator[Stage]:
        start = f"{self._prefix}{folder}/{name}"
        for page in self._pages("list_multipart_uploads", folder, Prefix=start):
            for upload in page.get("Uploads", ()):
                key = upload["Key"][len(self._prefix) :]
                modified = upload["Initiated"].timestamp()
                with contextlib.suppress(NotFound):
                    for part in self._parts(key, upload["UploadId"]):
                        modified = max(modified, part["LastModified"].timestamp())
                    yield Stage(f"{upload['UploadId']} {key}", key, modified)

    def _parts(self, key: str, upload: str) -> Sequence[dict[str, Any]]:
        pages = self._pages("list_parts", key, Key=self._prefix + key, UploadId=upload)
        return [part for page in pages for part in page.get("Parts", ())]

    def _pages(self, operation: str, key: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        with S3Errors(key):
            paginator = self._clients.get().get_paginator(operation)
            yield from paginator.paginate(Bucket=self._bucket, **parameters)


def make(options: Mapping[str, Any], _run_in_thread: Callable[..., Any]) -> S3Storage:
    """Return the driver for this part of the configuration."""
    if options["s3_conditional_writes"]:
        return S3Storage(options)
    from v1registry.storage.s3.unconditional import UnconditionalS3Storage  # imports this module

    return UnconditionalS3Storage(options)
