"""The S3 driver for stores that ignore `If-None-Match`.

There two pushes of one image may both write the record that decides, one after the other, and who
carries out the earlier one must not take away the layer of the later one for good. So a layer lies
whole under a name of its own, and is copied, by the store, each time that a record is carried out.
What was committed stays there until the cleaner comes, and costs its size twice so long.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from v1registry.storage import Buffer, Stage, exists, keys
from v1registry.storage.errors import NotFound, StorageError
from v1registry.storage.remote import RemoteBlob
from v1registry.storage.s3.client import S3Errors
from v1registry.storage.s3.driver import S3Storage, split

_ASIDE = f"{keys.OURS}/uploads"
_NOTE = "v1registry-stage"  # metadata: which stage an object was copied from
_MOST_COPIED = 4 * 1024**3  # bytes at once; S3 itself takes 5 GiB


class LooseS3Storage(S3Storage):
    """A handle is a token and the key; the bytes lie in `_v1registry/uploads/TOKEN/KEY`."""

    reads_stages = True

    def stage(self, key: str, pieces: Iterable[Buffer]) -> str:
        token = secrets.token_hex(12)
        handle = f"{token} {key}"
        upload = self._stage(_aside(handle), pieces, Metadata={_NOTE: token})
        try:
            super().commit(upload)
        except BaseException:
            with contextlib.suppress(StorageError):
                super().abandon(upload)
            raise
        return handle

    def commit(self, handle: str) -> None:
        if not self._is_in_place(handle):
            self._copy(_aside(handle), split(handle)[1])

    def abandon(self, handle: str) -> None:
        if not self._is_in_place(handle):  # else `clean` removes it, when nobody can want it back
            self.delete(_aside(handle))

    def open_staged(self, handle: str) -> RemoteBlob:
        if not self.is_staged(handle):
            raise NotFound(f"{handle}: committed or abandoned")
        return self.open(_aside(handle))

    def is_staged(self, handle: str) -> bool:
        return exists(self, _aside(handle)) and not self._is_in_place(handle)

    def stages(self) -> Iterator[Stage]:
        for handle in self._handles():
            with contextlib.suppress(NotFound):
                modified = self.stat(_aside(handle)).modified
                if not self._is_in_place(handle):
                    yield Stage(handle, split(handle)[1], modified)

    def clean(self, before: float) -> int:
        removed = super().clean(before)
        for upload in self._uploads(_ASIDE):  # of processes that ended in the middle
            if upload.modified < before:
                super().abandon(upload.handle)
                removed += 1
        for handle in self._handles():
            with contextlib.suppress(NotFound):
                if self.stat(_aside(handle)).modified < before and self._is_in_place(handle):
                    self.delete(_aside(handle))
                    removed += 1
        return removed

    def _handles(self) -> Iterator[str]:
        """Of all that was staged, committed ones included, and not cleaned yet."""
        start = f"{self._prefix}{_ASIDE}/"
        for page in self._pages(self._listing, _ASIDE, Prefix=start):
            for item in page.get("Contents", ()):
                token, slash, key = item["Key"][len(start) :].partition("/")
                if slash:
                    yield f"{token} {key}"

    def _is_in_place(self, handle: str) -> bool:
        token, key = split(handle)
        try:
            with S3Errors(key):
                found = self._call("head_object", key)["Metadata"]
        except NotFound:
            return False
        return bool(found.get(_NOTE) == token)

    def _copy(self, source: str, key: str) -> None:
        """Let the store copy an object, at once or in parts. Raise NotFound if it is not there."""
        size = self.stat(source).size
        where = {"CopySource": {"Bucket": self._bucket, "Key": self._prefix + source}}
        with S3Errors(key):
            if size <= _MOST_COPIED:
                self._call("copy_object", key, **where, **self._layers)
                return
            token = source.removeprefix(f"{_ASIDE}/").partition("/")[0]
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


def _aside(handle: str) -> str:
    token, key = split(handle)
    return f"{_ASIDE}/{token}/{key}"
