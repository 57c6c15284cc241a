"""The S3 driver for stores without conditional writes, which ignore `If-None-Match`.

In such a store, two pushes of one image may both write a commit record, one after the other. The
process that commits the earlier one must not delete the layer of the later one for good. So a staged
layer is a complete object under a key of its own, and each commit lets the store copy it. The cleaner
deletes that object later; until then the layer takes twice its size.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from v1registry.storage import Buffer, Stage, exists
from v1registry.storage.errors import NotFound, StorageError
from v1registry.storage.remote import UPLOADS, split_handle, staged_key
from v1registry.storage.remote_blob import RemoteBlob
from v1registry.storage.s3.client import S3Errors
from v1registry.storage.s3.driver import S3Storage

# metadata: the token of the staged layer from which an object was copied
_NOTE = "v1registry-stage"
_MOST_COPIED = 4 * 1024**3  # bytes that one request copies; the limit of S3 is 5 GiB


class UnconditionalS3Storage(S3Storage):
    """Stages a layer as `_v1registry/uploads/TOKEN/KEY`; a handle is the token and the key."""

    reads_stages = True

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        token = secrets.token_hex(12)
        handle = f"{token} {key}"
        upload = self._stage(staged_key(handle), pieces, Metadata={_NOTE: token})
        try:
            super().commit(upload)
        except BaseException:
            with contextlib.suppress(StorageError):
                super().abandon(upload)
            raise
        return handle

    def commit(self, handle: str) -> None:
        if not self._is_in_place(handle):
            self._copy(staged_key(handle), split_handle(handle)[1])

    def abandon(self, handle: str) -> None:
        # else `clean` deletes it later: another commit may need it again
        if not self._is_in_place(handle):
            self.delete(staged_key(handle))

    def open_staged(self, handle: str) -> RemoteBlob:
        if not self.is_staged(handle):
            raise NotFound(f"{handle}: committed or abandoned")
        return self.open(staged_key(handle))

    def is_staged(self, handle: str) -> bool:
        return exists(self, staged_key(handle)) and not self._is_in_place(handle)

    def stages(self) -> Iterator[Stage]:
        for handle in self._handles():
            with contextlib.suppress(NotFound):
                modified = self.stat(staged_key(handle)).modified
                if not self._is_in_place(handle):
                    yield Stage(handle, split_handle(handle)[1], modified)

    def clean(self, before: float) -> int:
        removed = super().clean(before)
        for upload in self._uploads(UPLOADS):  # of processes that ended before completing them
            if upload.modified < before:
                super().abandon(upload.handle)
                removed += 1
        for handle in self._handles():
            with contextlib.suppress(NotFound):
                if self.stat(staged_key(handle)).modified < before and self._is_in_place(handle):
                    self.delete(staged_key(handle))
                    removed += 1
        return removed

    def _handles(self) -> Iterator[str]:
        """Yield the handles of all staged layers that are not cleaned yet, committed ones included."""
        start = f"{self._prefix}{UPLOADS}/"
        for page in self._pages(self._listing, UPLOADS, Prefix=start):
            for item in page.get("Contents", ()):
                token, slash, key = item["Key"][len(start) :].partition("/")
                if slash:
                    yield f"{token} {key}"

    def _is_in_place(self, handle: str) -> bool:
        token, key = split_handle(handle)
        try:
            with S3Errors(key):
                found = self._call("head_object", key)["Metadata"]
        except NotFound:
            return False
        return bool(found.get(_NOTE) == token)

    def _copy(self, source: str, key: str) -> None:
        """Let the store copy an object, at once or in parts. Raise NotFound if it does not exist."""
        size = self.stat(source).size
        where = {"CopySource": {"Bucket": self._bucket, "Key": self._prefix + source}}
        with S3Errors(key):
            if size <= _MOST_COPIED:
                self._call("copy_object", key, **where, **self._layers)
                return
            token = source.removeprefix(f"{UPLOADS}/").partition("/")[0]
            more: dict[str, Any] = {**self._layers, "Metadata": {_NOTE: token}}
            upload = self._call("create_multipart_upload", key, **more)["UploadId"]
            try:
                for number, start in enumerate(range(0, size, _MOST_COPIED), 1):
                    last = min(start + _MOST_COPIED, size) - 1
                    part = {"PartNumber": number, "CopySourceRange": f"bytes={start}-{last}"}
                    self._call("upload_part_copy", key, UploadId=upload, **where, **part)
                super().commit(f"{upload} {key}")
            except BaseException:
                self._abort(key, upload)
                raise
