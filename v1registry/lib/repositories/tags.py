"""Reading tags: the image that each of a repository's tags points to.

A tag is a file that holds an image id, under a name that clients can ask for. Any other file with the
name of a tag is an unreadable tag: lists omit it, GET answers 404, and commands report it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

from v1registry.lib.names import ImageId, RepositoryName, Tag
from v1registry.lib.running import Run, collector_off, in_place
from v1registry.lib.support.cache import Cache
from v1registry.storage import ListEntry, Storage, get_or_none, keys

UNREADABLE = "the file of the tag holds no image id: push the tag again, or delete it"
UNREACHABLE = "no client can ask for a tag of this name: rename or delete its file in the store"

T = TypeVar("T")

_NUMBERS = re.compile(r"([0-9]{1,18})")

_FEW = 500  # files in a repository's folder
_CACHED = 10_000  # image ids, about 2 MB

Files = list[tuple[str, ListEntry]]  # files of one tag: folder and entry
Unreadable = Callable[[str, str], object]  # called with an unreadable tag and the reason


class Tags:
    """Reads the tags of a store.

    Any node may change a tag at any time, so the image of a tag is not cached. But if a listing
    contains the MD5 of each file, a file with the same bytes is read only once.
    """

    def __init__(self, storage: Storage, compute: Run = in_place) -> None:
        """`compute` lists repositories that have very many tags."""
        self._storage = storage
        self._compute = compute
        self._by_md5: Cache[str] = Cache(_CACHED, math.inf, lambda _: 1)

    def all(
        self, repository: RepositoryName, unreadable: Unreadable | None = None
    ) -> dict[str, str] | None:
        """Return all tags with their image ids; None if nothing is stored there."""

        def work(files: dict[str, Files] | None) -> dict[str, str] | None:
            return None if files is None else dict(self._read(files, unreadable))

        return self._with_files(repository, work)

    def names(
        self, repository: RepositoryName, after: str, wanted: Callable[[str], bool], most: int
    ) -> list[str] | None:
        """Return the first `most` tags after `after`, in order, for which `wanted` is true.

        None if nothing is stored there. Only the files of these tags are read.
        """

        def work(files: dict[str, Files] | None) -> list[str] | None:
            if files is None:
                return None
            chosen = sorted(tag for tag in files if tag > after and wanted(tag))
            read = self._read({tag: files[tag] for tag in chosen})
            return [tag for tag, _ in islice(read, most)]

        return self._with_files(repository, work)

    def page(
        self, repository: RepositoryName, text: str, start: int, most: int
    ) -> tuple[int, list[tuple[str, str]]] | None:
        """Return the number of tags that contain `text`, ignoring case, and `most` from `start`.

        `latest` comes first, then the greatest versions: `v10` before `v9`. Unreadable tags count, but
        are left out. None if nothing is stored there. Only the files of the returned tags are read.
        """

        def work(
            files: dict[str, Files] | None,
        ) -> tuple[int, list[tuple[str, str]]] | None:
            if files is None:
                return None
            found = [tag for tag in files if text.lower() in tag.lower()]
            found.sort(key=_human_order, reverse=True)
            chosen = found[start : start + most]
            return len(found), list(self._read({tag: files[tag] for tag in chosen}))

        return self._with_files(repository, work)

    def get(self, repository: RepositoryName, tag: str) -> str | None:
        """Return the image id of a tag; None if there is no such tag."""
        for key in _keys(repository, tag):
            image_id = self.read(key)
            if image_id is not None:
                return image_id
        return None

    def each(
        self, repository: RepositoryName, unreadable: Unreadable | None = None
    ) -> Iterator[tuple[str, str]]:
        """Yield what `all` returns, for callers that may stop early."""
        files = self._with_files(repository, lambda files: files)
        return self._read(files or {}, unreadable)

    def read(self, key: str) -> str | None:
        """Return the image id in a tag's file; None if the file or the id is missing."""
        data = get_or_none(self._storage, key)
        return None if data is None else image_id_in(data)

    def stored(self, repository: RepositoryName, tag: str) -> list[str]:
        """Return the keys of a tag's files, readable or not; none if there is no such tag."""
        return [key for key in _keys(repository, tag) if self._is_tag(key)]

    def _with_files(self, repository: RepositoryName, work: Callable[[Any], T]) -> T:
        """Pass the files of each tag to `work`, None if nothing is stored; return its result.

        `compute` lists a repository of very many tags and runs `work`.
        """
        few = self._entries(repository, _FEW + 1)
        if len(few) <= _FEW:
            return work(_files(repository, few))

        def list_and_work() -> T:
            with collector_off():
                return work(_files(repository, self._entries(repository)))

        found: T = self._compute(list_and_work)
        return found

    def _entries(self, repository: RepositoryName, most: int | None = None) -> Files:
        """Return the entries of the repository's folders, at most `most`."""
        entries = (
            (folder, entry) for folder in repository.folders for entry in self._storage.list(folder)
        )
        return list(islice(entries, most))

    def _read(
        self, found: dict[str, Files], unreadable: Unreadable | None = None
    ) -> Iterator[tuple[str, str]]:
        for tag, files in found.items():
            image_id = None
            if Tag.may_exist(tag):
                for folder, entry in files:
                    image_id = self._listed(folder, entry)
                    if image_id is not None:
                        break
            if image_id is not None:
                yield tag, image_id
            elif unreadable and any(self._is_tag(f"{place}/{file.name}") for place, file in files):
                if Tag.may_exist(tag):
                    unreadable(tag, UNREADABLE)
                else:
                    unreadable(ascii(tag)[1:-1], UNREACHABLE)  # to be printed on any terminal

    def _is_tag(self, key: str) -> bool:
        """Return whether the file exists and is not the metadata of a tag `_x`.

        That metadata has the key of the tag `x_json`.
        """
        data = get_or_none(self._storage, key)
        return data is not None and not (key.endswith("_json") and data.lstrip().startswith(b"{"))

    def _listed(self, folder: str, entry: ListEntry) -> str | None:
        """Return what `read` returns, for a file in a listing, which may contain its MD5."""
        cached = self._by_md5.get(entry.md5) if entry.md5 else None
        if cached is not None:
            return cached
        data = get_or_none(self._storage, f"{folder}/{entry.name}")
        if data is None:
            return None
        image_id = image_id_in(data)
        # Another node may have written the file since the listing, and not each store has the MD5.
        if image_id and entry.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest():
            self._by_md5.put(entry.md5, image_id)
        return image_id


def _files(repository: RepositoryName, entries: Files) -> dict[str, Files] | None:
    """Return the files of each tag, the valid one first; None if nothing is stored."""
    found: dict[str, Files] = {}
    for folder, entry in entries:
        if entry.name.startswith(keys.TAG) and not entry.is_folder:
            found.setdefault(keys.tag_name(entry.name), []).append((folder, entry))
    for tag, files in found.items():
        if len(files) > 1 and Tag.may_exist(tag):
            order = _keys(repository, tag)
            files.sort(key=lambda file: order.index(f"{file[0]}/{file[1].name}"))
    return found if entries else None


def _human_order(tag: str) -> tuple[bool, list[tuple[int, str]]]:
    """Return a key that sorts numbers in tags by their value, and `latest` after all others."""
    parts = [(int(p), p) if p.isdigit() else (-1, p) for p in _NUMBERS.split(tag) if p]
    return tag == "latest", parts


def image_id_in(data: bytes) -> str | None:
    """Return the image id in the bytes of a tag's file; None if they hold none."""
    text = data.decode("ascii", "replace").strip().strip('"')
    return text if ImageId.is_valid(text) else None


@lru_cache(maxsize=1024)
def _keys(repository: RepositoryName, tag: str) -> tuple[str, ...]:
    """Return the possible keys of a tag, the one that this version writes first."""
    return tuple(f"{folder}/{name}" for folder in repository.folders for name in keys.tags(tag))
