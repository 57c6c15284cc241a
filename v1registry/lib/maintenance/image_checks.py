"""Checks of one image: its JSON, ancestry, checksums, layer, and the metadata of ours beside it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from v1registry.lib import documents
from v1registry.lib.images.commit import CommitRecord
from v1registry.lib.images.hidden import HiddenImages
from v1registry.lib.images.images import stored_checksums
from v1registry.lib.maintenance.findings import Finding
from v1registry.lib.maintenance.layer_checks import LayerChecks
from v1registry.lib.maintenance.membership import Membership
from v1registry.lib.maintenance.parents import Parents, ancestry
from v1registry.lib.names import ImageId
from v1registry.storage import Storage, get_or_none, keys
from v1registry.storage.errors import NotFound

#: Parts that are computed from others, so they may be deleted.
DERIVED = frozenset({"_files", "_diff", "_files_refused", "_diff_refused", "_oci", "_repositories"})

_LISTINGS = {"_files": list, "_diff": dict}
_TIMED = ("json", "layer", "_inprogress", "_commit")
_one_at_a_time = threading.Lock()  # a list of files may need 100 MB while it is parsed


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What is stored of an image. `parts` are the names in its folder, `size` that of its layer."""

    id: str
    parts: frozenset[str]
    json: bytes | None
    sums: bytes | None
    size: int | None
    record: CommitRecord | None

    @property
    def checksums(self) -> tuple[str, ...]:
        return stored_checksums(self.sums)

    @property
    def pushed_checksums(self) -> tuple[str, ...]:
        """The checksums in the commit record, or the stored ones."""
        return tuple(self.record.checksums) if self.record else self.checksums

    @property
    def pushed_json(self) -> bytes | None:
        """The JSON in the commit record, or the stored one, unless that is damaged."""
        if self.record and self.record.document:
            return self.record.document.encode("latin-1")
        return self.json if self.json and _json_problem(self, self.json) is None else None

    @property
    def restorable(self) -> bool:
        """Whether the commit record seems to contain what was pushed."""
        record = self.record
        return bool(record and record.document and record.checksums and record.size == self.size)


class ImageChecks:
    """Checks images. `layers` checks their layers; unfinished uploads before `before` are findings.

    `before` is in seconds since the epoch.
    """

    def __init__(
        self,
        storage: Storage,
        parents: Parents,
        membership: Membership,
        layers: LayerChecks,
        before: float,
    ) -> None:
        self._storage = storage
        self._parents = parents
        self._membership = membership
        self._layers = layers
        self._before = before
        self._hidden = HiddenImages(storage)

    def check(self, name: str) -> list[Finding]:
        """Return the findings about an entry of the folder `images`. Raise StorageError."""
        if not ImageId.is_valid(name):
            return [Finding("image-id-invalid", f"{keys.IMAGES}/{name}")]
        if self._hidden.contains(name):
            return []  # garbage collection deletes it, or a client brings it back
        return list(self._check(name))

    def _check(self, image_id: str) -> Iterator[Finding]:
        image = self._read(image_id)
        self._parents.learn(image_id, image.json)
        if "_inprogress" in image.parts:
            yield from self._unfinished(image)
        elif image.json is None:
            yield from self._without_json(image)
        else:
            yield from self._complete(image, image.json)

    def _read(self, image_id: str) -> StoredImage:
        # Read the JSON before the mark: a push puts the JSON in place while the mark exists.
        data = get_or_none(self._storage, keys.image(image_id, "json"))
        parts = frozenset(entry.name for entry in self._storage.list(f"{keys.IMAGES}/{image_id}"))
        return StoredImage(
            image_id,
            parts,
            data,
            self._get(image_id, "_checksum", parts),
            self._size(image_id) if "layer" in parts else None,
            _record(self._get(image_id, "_commit", parts)),
        )

    def _get(self, image_id: str, part: str, parts: frozenset[str]) -> bytes | None:
        if part not in parts:
            return None
        return get_or_none(self._storage, keys.image(image_id, part))

    def _size(self, image_id: str) -> int | None:
        try:
            return self._storage.stat(keys.image(image_id, "layer")).size
        except NotFound:
            return None

    # -- images that are not complete --------------------------------------------------

    def _unfinished(self, image: StoredImage) -> Iterator[Finding]:
        if self._modified(image) >= self._before:
            return
        if "_commit" in image.parts:
            yield Finding("commit-unfinished", _key(image, "_commit"), fixable=True)
        elif next(self._storage.list(keys.pushes(ImageId(image.id))), None) is None:
            yield Finding("upload-unfinished", _key(image, "_inprogress"))

    def _without_json(self, image: StoredImage) -> Iterator[Finding]:
        if not image.parts or self._modified(image) >= self._before:
            return  # it was deleted, or a push has just begun
        if image.parts <= DERIVED:
            yield Finding("metadata-orphaned", f"{keys.IMAGES}/{image.id}", fixable=True)
        else:
            yield Finding("json-missing", _key(image, "json"), fixable=image.restorable)

    def _modified(self, image: StoredImage) -> float:
        """Return when the image last changed; 0 if only derived parts are there."""
        latest = 0.0
        for part in image.parts.intersection(_TIMED):
            try:
                latest = max(latest, self._storage.stat(_key(image, part)).modified)
            except NotFound:
                latest = time.time()  # a push is going on
        return latest

    # -- complete images ------------------------------------------------------------------

    def _complete(self, image: StoredImage, data: bytes) -> Iterator[Finding]:
        problem = _json_problem(image, data)
        if problem is not None:
            code, detail = problem
            yield Finding(code, _key(image, "json"), detail, image.restorable)
        yield from self._commit(image, data, problem is None)
        yield from self._ancestry(image)
        yield from _checksums(image)
        yield from self._layers.check(image)
        yield from self._listings(image)
        if "_repositories" in image.parts:
            yield from self._references(image.id)

    def _commit(self, image: StoredImage, data: bytes, is_sound: bool) -> Iterator[Finding]:
        record = image.record
        if record is None:
            if "_commit" in image.parts:
                yield Finding("commit-invalid", _key(image, "_commit"))
            return
        if is_sound and hashlib.sha256(data).hexdigest() != record.json:
            yield Finding("json-changed", _key(image, "json"), fixable=image.restorable)
        if image.checksums and list(image.checksums) != record.checksums:
            yield Finding("checksum-changed", _key(image, "_checksum"), fixable=image.restorable)

    def _ancestry(self, image: StoredImage) -> Iterator[Finding]:
        chain = self._parents.chain(image.id)
        if self._parents.is_in_loop(image.id):
            yield Finding("parent-loop", _key(image, "json"))
        parent = chain.ids[1] if len(chain.ids) > 1 else None
        if parent and not self._parents.is_complete(parent):
            yield Finding("parent-missing", _key(image, "json"), parent)
        key, is_whole = _key(image, "ancestry"), chain.end == "base"
        data = self._get(image.id, "ancestry", image.parts)
        if data is None:
            yield Finding("ancestry-missing", key, fixable=is_whole)
            return
        stored = ancestry(data)
        if stored is None:
            yield Finding("ancestry-invalid", key, fixable=is_whole)
        elif not _agrees(stored, chain.ids, is_whole):
            fixable = is_whole and set(stored) <= set(chain.ids)
            yield Finding("ancestry-differs", key, fixable=fixable)

    def _listings(self, image: StoredImage) -> Iterator[Finding]:
        for part, shape in _LISTINGS.items():
            if part in image.parts:
                with _one_at_a_time:
                    is_damaged = not _is(shape, get_or_none(self._storage, _key(image, part)))
                if is_damaged:
                    yield Finding("listing-invalid", _key(image, part), fixable=True)

    def _references(self, image_id: str) -> Iterator[Finding]:
        folder = keys.references(image_id)
        for entry in self._storage.list(folder):
            key = f"{folder}/{entry.name}"
            leads = self._membership.is_valid(key, entry.name, image_id)
            if leads is None:
                yield Finding("reference-invalid", key, fixable=True)
            elif not leads:
                yield Finding("reference-stale", key, fixable=True)


def _key(image: StoredImage, part: str) -> str:
    return keys.image(image.id, part)


def _record(data: bytes | None) -> CommitRecord | None:
    try:
        return CommitRecord(**json.loads(data or b""))
    except (ValueError, TypeError):
        return None


def _json_problem(image: StoredImage, data: bytes) -> tuple[str, str] | None:
    """Return the code and detail of what is wrong with an image JSON, or None."""
    try:
        document = documents.load(data)
    except ValueError as error:
        return "json-invalid", str(error)
    if not isinstance(document, dict):
        return "json-invalid", "it is no object"
    if document.get("id") != image.id:
        return "json-id", ascii(document.get("id"))[:80]
    parent = document.get("parent")
    if parent and not ImageId.is_valid(parent):
        return "parent-invalid", ascii(parent)[:80]
    return None


def _agrees(stored: list[str], chain: list[str], is_whole: bool) -> bool:
    """Return whether an ancestry has the ids of the chain, as far as that is known."""
    return stored == chain if is_whole else stored[: len(chain)] == chain


def _checksums(image: StoredImage) -> Iterator[Finding]:
    if image.sums is None:
        pushed = image.record.checksums if image.record else []
        if pushed:
            yield Finding("checksum-invalid", _key(image, "_checksum"), "", image.restorable)
    elif not image.checksums or not all(":" in text for text in image.checksums):
        yield Finding("checksum-invalid", _key(image, "_checksum"), "", image.restorable)


def _is(shape: Callable[[], object], data: bytes | None) -> bool:
    """Return whether the data is JSON of this shape; missing data is right as well."""
    try:
        return data is None or type(json.loads(data)) is shape
    except (ValueError, RecursionError):
        return False
