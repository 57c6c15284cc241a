"""Checks of one repository: its name, tags, metadata, image list, and missing references."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from v1registry.lib import documents
from v1registry.lib.maintenance.findings import Finding
from v1registry.lib.maintenance.parents import Parents
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.repositories import walk
from v1registry.lib.repositories.tags import UNREADABLE, Tags
from v1registry.storage import Storage, exists, get_or_none, keys

_METADATA = "_json"  # ends the file name of a tag's metadata
_ENTRIES = "_index_entries"

Files = dict[str, list[str]]  # the keys of each tag's files
Metadata = dict[str, set[str]]  # the tags that the metadata under a key may belong to
Names = dict[str, bool]  # the names in a folder, and whether each one is a folder


class RepositoryChecks:
    """Checks repositories. `with_references`: the store should have all repository references."""

    def __init__(
        self, storage: Storage, tags: Tags, parents: Parents, *, with_references: bool
    ) -> None:
        self._storage = storage
        self._tags = tags
        self._parents = parents
        self._with_references = with_references

    def check(self, folder: str) -> list[Finding]:
        """Return the findings about a folder of two levels in `repositories`. Raise StorageError.

        Of a repository with two folders, the first one gets the findings about both.
        """
        name = RepositoryName.of_folders(*folder.split("/")[1:])
        children = {
            place: {entry.name: entry.is_folder for entry in self._storage.list(place)}
            for place in (name.folders if name else (folder,))
        }
        present = [place for place, names in children.items() if names]
        if not present or present[0] != folder:
            return []
        is_legal = name is not None and name.is_legal
        if not is_legal and not any(map(walk.is_repository, children.values())):
            return []  # another program's folder
        if name is None:
            return [Finding("repository-name-invalid", folder)]
        return list(self._check(name, present, children))

    def _check(
        self, name: RepositoryName, present: list[str], children: dict[str, Names]
    ) -> Iterator[Finding]:
        if len(present) > 1:
            fixable = any(True for _ in movable(self._storage, self._tags, name, present[1]))
            yield Finding("repository-twice", present[1], str(name), fixable)
        files, metadata = self._sorted(children)
        found: list[Finding] = []
        tags = self._tags.all(name, self._unreadable(present[0], files, found)) or {}
        yield from found
        yield from self._twice(files)
        for tag, image_id in tags.items():
            if not self._parents.is_complete(image_id):
                yield Finding("tag-dangling", files[tag][0], image_id)
        yield from self._metadata(files, metadata)
        for folder in present:
            yield from self._documents(folder, children[folder])
        if self._with_references:
            yield from self._references(name, tags)

    def _sorted(self, children: dict[str, Names]) -> tuple[Files, Metadata]:
        """Return the files of all tags, and those of their metadata."""
        files: Files = {}
        metadata: Metadata = {}
        for folder, names in children.items():
            for name in (name for name, is_folder in names.items() if not is_folder):
                key = f"{folder}/{name}"
                is_metadata = name.startswith("tag") and name.endswith(_METADATA)
                if name.startswith(keys.TAG):
                    # The metadata of a tag `_x` has the name of a tag `x_json`.
                    is_metadata = is_metadata and self._is_object(key)
                    if not is_metadata:
                        files.setdefault(keys.tag_name(name), []).append(key)
                if is_metadata:
                    forms = (keys.decode(name), name)  # 0.8.0 did not encode tags
                    metadata[key] = {form[len("tag") : -len(_METADATA)] for form in forms}
        return files, metadata

    def _is_object(self, key: str) -> bool:
        return (get_or_none(self._storage, key) or b"").lstrip().startswith(b"{")

    # -- tags ----------------------------------------------------------------------------

    def _unreadable(
        self, folder: str, files: Files, found: list[Finding]
    ) -> Callable[[str, str], None]:
        printable = {ascii(tag)[1:-1]: places[0] for tag, places in files.items()}

        def note(tag: str, reason: str) -> None:
            code, text = "tag-unreadable", ascii(tag)[1:-1]
            if reason != UNREADABLE:
                code, text = "tag-name-invalid", tag  # `Tags` has escaped it
            found.append(Finding(code, printable.get(text, f"{folder}/{keys.TAG}{text}")))

        return note

    def _twice(self, files: Files) -> Iterator[Finding]:
        for places in files.values():
            if len(places) > 1:
                ids = {self._tags.read(key) for key in places}
                fixable = len(ids) == 1 and None not in ids
                yield Finding("tag-twice", places[1], "", fixable)

    def _metadata(self, files: Files, metadata: Metadata) -> Iterator[Finding]:
        for key, tags in metadata.items():
            if files.keys().isdisjoint(tags):
                yield Finding("tag-metadata-orphaned", key, fixable=True)
            elif not self._is(dict, key):
                yield Finding("tag-metadata-invalid", key, fixable=True)

    # -- other documents -------------------------------------------------------------------

    def _documents(self, folder: str, names: Names) -> Iterator[Finding]:
        for name, shape, code, fixable in (
            ("json", dict, "repository-json-invalid", True),
            ("_images_list", list, "members-invalid", False),
        ):
            if name in names and not self._is(shape, f"{folder}/{name}"):
                yield Finding(code, f"{folder}/{name}", fixable=fixable)
        key = f"{folder}/_index_images"
        if "_index_images" in names and not is_image_list(get_or_none(self._storage, key)):
            yield Finding("list-invalid", key, fixable=True)
        if _ENTRIES in names:
            for entry in self._storage.list(f"{folder}/{_ENTRIES}"):
                key = f"{folder}/{_ENTRIES}/{entry.name}"
                if not _is_entry(get_or_none(self._storage, key), entry.name):
                    yield Finding("list-entry-invalid", key, fixable=True)

    def _is(self, shape: type, key: str) -> bool:
        """Return whether the object is JSON of this shape; a missing one is right as well."""
        data = get_or_none(self._storage, key)
        try:
            return data is None or isinstance(documents.load(data), shape)
        except ValueError:
            return False

    # -- references --------------------------------------------------------------------------

    def _references(self, name: RepositoryName, tags: dict[str, str]) -> Iterator[Finding]:
        done: set[str] = set()
        for tag, top in tags.items():
            if top in done or not self._parents.is_complete(top):
                continue
            for image_id in self._parents.ancestors(top):
                if image_id in done:
                    continue
                done.add(image_id)
                key = keys.reference(image_id, str(name))
                if not exists(self._storage, key) and self._parents.is_complete(image_id):
                    yield Finding("reference-missing", key, f"{name}:{tag}", True)


def movable(
    storage: Storage, tags: Tags, repository: RepositoryName, older: str
) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of files in an older folder that may move to the current one.

    The current folder must not contain another file of the name, nor another image of the tag.
    """
    for entry in list(storage.list(older)):
        data = None if entry.is_folder else get_or_none(storage, f"{older}/{entry.name}")
        if data is None:
            continue
        if get_or_none(storage, f"{repository.folder}/{entry.name}") not in (None, data):
            continue
        if entry.name.startswith(keys.TAG):
            shown = tags.get(repository, keys.tag_name(entry.name))
            if shown != tags.read(f"{older}/{entry.name}"):
                continue  # another file of the tag, in the other encoding, comes first
        yield entry.name, data


def is_image_list(data: bytes | None) -> bool:
    """Return whether this is an image list; a missing one is right as well."""
    try:
        items = [] if data is None else documents.load(data)
    except ValueError:
        return False
    return isinstance(items, list) and all(
        isinstance(item, dict) and ImageId.is_valid(item.get("id")) for item in items
    )


def _is_entry(data: bytes | None, name: str) -> bool:
    try:
        item = None if data is None else documents.load(data)
    except ValueError:
        return False
    return data is None or (isinstance(item, dict) and item.get("id") == name)
