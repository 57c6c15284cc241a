"""Plain objects of one Swift container, below the prefix of all names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import requests
from keystoneauth1.session import Session

from v1registry.storage import Stat
from v1registry.storage.checksums import hex_md5, of_swift
from v1registry.storage.errors import NotFound, Refused
from v1registry.storage.openstack import FAILURES
from v1registry.storage.remote_blob import RemoteBlob, StoreResponse, response_of
from v1registry.storage.swift.client import SwiftAccount

_PAGE = 1000  # names in one page of a listing
_NEWEST = {"X-Newest": "true"}  # read all copies: one of them may have missed a write
_BINARY = {"Content-Type": "application/octet-stream"}
_UPLOAD = "X-Object-Meta-Upload"  # metadata: the upload that committed this object


class ListingItem(NamedTuple):
    """One entry of a listing; a folder has no time."""

    key: str
    is_folder: bool
    modified: float


class ObjectHead(NamedTuple):
    """The result of HEAD; `upload` is empty for objects that no upload of the registry committed.

    It is also empty if another program replaced the object's metadata.
    """

    stat: Stat
    upload: str
    is_large: bool  # consists of segments

    def may_be_of(self, upload: str) -> bool:
        """Return whether the object may consist of this upload's segments."""
        return self.upload == upload or (self.is_large and not self.upload)


class Objects:
    """Reads, writes, lists and deletes objects by key."""

    def __init__(self, account: SwiftAccount, prefix: str) -> None:
        self._account = account
        self._prefix = prefix

    def path(self, key: str) -> str:
        """Return container and name in the form of manifests."""
        return f"/{self._account.container}/{self._prefix}{key}"

    def session(self) -> Session:
        """Return a session that several threads may pass to further calls as `session`."""
        return self._account.session()

    def call(self, method: str, key: str, **more: Any) -> requests.Response:
        name = self._prefix + key
        return self._account.request(method, name, name, **more)

    def open(self, key: str) -> RemoteBlob:
        return RemoteBlob(key, partial(self._fetch, key), FAILURES, self._account.storage_error)

    def _fetch(self, key: str, start: int, version: str | None) -> StoreResponse:
        headers = {**_NEWEST, **({"Range": f"bytes={start}-"} if start else {})}
        answer = self.call("GET", key, headers=headers, stream=True)
        found = answer.headers.get("ETag", "")
        # Compared here, because not every server supports If-Match for large objects.
        if version not in (None, found):
            answer.close()
            raise Refused(f"{key}: the object was replaced, its ETag is {found} now")
        return response_of(key, answer, start, found, of_swift)

    def head(self, key: str) -> ObjectHead:
        headers = self.call("HEAD", key, headers=_NEWEST).headers
        try:
            stat = Stat(int(headers["Content-Length"]), float(headers["X-Timestamp"]))
        except (KeyError, ValueError) as error:
            raise Refused(f"{key}: the answer is not Swift's: {error!r}") from error
        is_large = headers.get("X-Static-Large-Object", "").lower() == "true"
        return ObjectHead(stat, headers.get(_UPLOAD, ""), is_large)

    def find(self, key: str) -> ObjectHead | None:
        try:
            return self.head(key)
        except NotFound:
            return None

    def put(
        self,
        key: str,
        data: bytes | bytearray,
        *,
        upload: str = "",
        etag: str = "",
        headers: Mapping[str, str] = _BINARY,
        **more: Any,
    ) -> requests.Response:
        """Store an object, with `upload` in its metadata.

        The store verifies the bytes by their ETag. A manifest has another ETag; the store verifies
        its segments instead.
        """
        own = {_UPLOAD: upload} if upload else {}
        if "params" not in more:
            own["ETag"] = etag or hex_md5(data)
        return self.call("PUT", key, data=data, headers={**_BINARY, **headers, **own}, **more)

    def remove(self, key: str) -> bool:
        """Delete an object; return whether it existed."""
        return self.call("DELETE", key, ok=(404,)).status_code != 404

    def items(self, start: str, **more: str) -> Iterator[ListingItem]:
        """Yield the listing of all keys that begin with `start`, page by page.

        Folder markers of other programs are skipped.
        """
        begin = self._prefix + start
        query = {"format": "json", "prefix": begin, "limit": str(_PAGE), **more}
        while True:
            answer = self._account.of_container("GET", params=query)
            try:
                page = answer.json() if answer.content else []
                items = self._page(page, begin)
            except (KeyError, TypeError, ValueError) as error:
                raise Refused(f"{start}: the listing is not Swift's: {error!r}") from error
            yield from items
            if len(page) < _PAGE:
                return
            query["marker"] = page[-1].get("subdir") or page[-1]["name"]

    def _page(self, page: list[dict[str, Any]], begin: str) -> list[ListingItem]:
        items = []
        for line in page:
            if "subdir" in line:
                items.append(ListingItem(self._key(line["subdir"], begin)[:-1], True, 0.0))
            elif line["name"] != begin and line.get("content_type") != _FOLDER:
                items.append(ListingItem(self._key(line["name"], begin), False, _time(line)))
        return items

    def _key(self, name: str, begin: str) -> str:
        if not name.startswith(begin):
            raise ValueError(f"{name} does not begin with {begin}")
        return name[len(self._prefix) :]


_FOLDER = "application/directory"


def _time(line: Mapping[str, Any]) -> float:
    """Return seconds since the epoch for a listing's time, which is UTC without a zone."""
    return datetime.fromisoformat(line["last_modified"]).replace(tzinfo=UTC).timestamp()
