"""Repositories and their tags (protocol-v1.md sections 2 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Images
from v1registry.lib.images.push_provenance import Sender
from v1registry.lib.names import ImageId, RepositoryName, Tag
from v1registry.lib.repositories.immutable import ImmutableTags
from v1registry.lib.repositories.metadata import DEFAULTS, Metadata, metadata_of
from v1registry.lib.repositories.references import LIFE, RepositoryReferences
from v1registry.lib.repositories.tags import Tags, Unreadable
from v1registry.lib.repositories.walk import is_repository
from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.storage import Storage, exists, keys
from v1registry.storage.errors import NotFound

_MAX_ID_JSON = 4096  # bytes of a JSON string that holds an image id


class Events:
    """A listener that keeps a copy of the store, such as the index; this one ignores all events.

    It is called after each change. It must not fail or wait long: pushes must not depend on it.
    """

    def tagged(self, repository: RepositoryName, tag: str) -> None:
        """A tag was set or deleted."""

    def flagged(self, repository: RepositoryName, private: bool) -> None:
        """The repository was made private or public."""

    def deleted(self, repository: RepositoryName) -> None:
        """The repository was deleted."""


class Repositories:
    """Reads and writes tags, their metadata, and the private flag; notifies `events` of changes."""

    def __init__(
        self,
        storage: Storage,
        images: Images,
        tags: Tags,
        references: RepositoryReferences,
        events: Events | None = None,
        immutable: ImmutableTags | None = None,
    ) -> None:
        self._storage = storage
        self._images = images
        self._tags = tags
        self._references = references
        self._events = events or Events()
        self.immutable = immutable or ImmutableTags(storage, tags)
        self._flags: SingleFlightCache[bool] = SingleFlightCache(LIFE)

    # -- tags -----------------------------------------------------------------

    def tags(
        self, repository: RepositoryName, unreadable: Unreadable | None = None
    ) -> dict[str, str]:
        """Return all tags with their image ids. Raise Failure 404 if nothing is stored there.

        `unreadable` is called with each unreadable tag and the reason (see `Tags`).
        """
        found = self._tags.all(repository, unreadable)
        if found is None:
            raise Failure(*errors.REPOSITORY_NOT_FOUND)
        return found

    def tag(self, repository: RepositoryName, tag: Tag) -> str:
        """Return the image id of a tag. Raise Failure 404."""
        image_id = self._tags.get(repository, tag)
        if image_id is None:
            raise Failure(*errors.TAG_NOT_FOUND)
        return image_id

    def writable(self, repository: RepositoryName, name: str) -> Tag:
        """Return the tag of this name, which must be legal or exist. Raise Failure 400."""
        if not Tag.is_valid(name) and Tag.may_exist(name):
            tag = Tag(name)
            if self._tags.stored(repository, tag):
                return tag
        return Tag.parse(name)

    def set_tag(
        self,
        repository: RepositoryName,
        tag: Tag,
        data: bytes,
        agent: str,
        sender: Sender | None = None,
        confirm: Callable[[], object] = lambda: None,
    ) -> None:
        """Point a tag to a complete image; `data` is the id as a JSON string.

        `agent` is the User-Agent, from which 0.x makes the tag's metadata. Raise Failure 400 for other
        data, and 404 or 400 if the image is not complete. Raise Failure 404 if the `sender` may not
        use the image: the tag would show it to other users of the repository. Raise Failure 409 if the
        tag is immutable and has another image; if it has this image, it keeps its metadata.

        `confirm` is called once the tag is stored, and raises Failure 404 if the repository was deleted
        meanwhile. Then the tag is deleted again, unless a newer push has changed it.
        """
        if len(data) > _MAX_ID_JSON:
            raise Failure(*errors.DATA_INVALID)
        value = documents.parse_text(data, errors.DATA_INVALID)
        if not isinstance(value, str) or not value:
            raise Failure(*errors.DATA_INVALID)
        if not ImageId.is_valid(value):
            raise Failure(*errors.IMAGE_NOT_FOUND)
        if sender is not None and not sender.may_use(ImageId(value)):
            raise Failure(*errors.IMAGE_NOT_FOUND)
        self._images.keep(value)
        image = self._images.get(ImageId(value))
        # First the references: without one, users could not read the tagged image.
        references = self._references.prepare(repository, tag, image)
        written = self._write_tag(repository, tag, image.id, references, metadata_of(agent))
        self._events.tagged(repository, tag)
        try:
            confirm()
        except Failure as failure:
            if failure.status == errors.REPOSITORY_DELETED[0]:
                self._take_back(repository, tag, written)
            raise

    def _write_tag(
        self,
        repository: RepositoryName,
        tag: str,
        image_id: str,
        references: Mapping[str, bytes],
        metadata: Metadata | None = None,
    ) -> dict[str, bytes]:
        """Write references, a tag and its metadata; return the values of the tag, the tag first.

        Return no values if the tag is immutable and has this image already. Raise Failure 409 if it
        has another one.
        """
        folder = repository.folder
        value = {f"{folder}/{keys.tag(tag)}": image_id.encode("ascii")}
        more = {}
        if metadata is not None and not tag.startswith("_"):
            # Metadata of `_x` would have the key of the tag `x_json`, and 0.x would list it as a tag.
            more[f"{folder}/{keys.tag_metadata(tag)}"] = documents.dump(metadata)
        if metadata is not None and tag == "latest":
            more[f"{folder}/json"] = documents.dump(metadata)
        if self.immutable.rule(repository, tag) is None:
            self._storage.put_all({**references, **value, **more})
            return value | more
        self.immutable.refuse_push(repository, {tag: {image_id}})
        self._storage.put_all(references)
        if not self.immutable.create(repository, tag, image_id):
            return {}
        self._storage.put_all(more)
        return value | more

    def _take_back(
        self, repository: RepositoryName, tag: Tag, written: Mapping[str, bytes]
    ) -> None:
        """Delete the values that a request wrote, the tag first, up to one that is not as written."""
        for key, value in written.items():
            if not self._storage.delete_if(key, value):
                break
        self._events.tagged(repository, tag)

    def delete_tag(self, repository: RepositoryName, tag: Tag) -> None:
        """Delete a tag, also an unreadable one.

        Raise Failure 404 if there is no such tag, 409 if it is immutable.
        """
        self.immutable.refuse_deletion(repository, [tag])
        stored = self._tags.stored(repository, tag)
        if not stored:
            raise Failure(404, f"{errors.TAG_NOT_FOUND[1]}: {tag}")
        for key in stored:
            self._storage.delete(key)
        for key in _metadata_keys(repository, tag):
            if self._tags.read(key) is None:  # else it is the tag `x_json`, not metadata of `_x`
                self._storage.delete(key)
        self._events.tagged(repository, tag)

    # -- metadata ---------------------------------------------------------------

    def metadata(self, repository: RepositoryName, tag: Tag | None = None) -> Metadata:
        """Return the metadata of a tag, or of the repository (of `latest`), or the defaults."""
        for key in _metadata_keys(repository, tag):
            try:
                value = documents.load(self._storage.get(key))
            except (NotFound, ValueError):
                continue
            if isinstance(value, dict):
                return value
        return dict(DEFAULTS)

    # -- the repository -----------------------------------------------------------

    def require(self, repository: RepositoryName) -> None:
        """Raise Failure 404 if nothing is stored there."""
        if not any(True for folder in repository.folders for _ in self._storage.list(folder)):
            raise Failure(*errors.REPOSITORY_NOT_FOUND)

    def is_stored(self, repository: RepositoryName) -> bool:
        """Return whether the store has this repository, and not only another program's folder."""
        folders = repository.folders
        return any(is_repository(e.name for e in self._storage.list(folder)) for folder in folders)

    def delete(self, repository: RepositoryName) -> None:
        """Delete tags, image list and flags, not images.

        Raise Failure 404 if nothing is stored, 409 if a tag is immutable.
        """
        self.require(repository)
        self.immutable.refuse_deletion(repository)
        for folder in repository.folders:
            self._storage.delete_folder(folder)
        self._flags.forget(str(repository))
        self._events.deleted(repository)

    def copy(self, repository: RepositoryName, new: RepositoryName) -> None:
        """Copy tags, metadata, image list and private flag to a new name, without an event.

        It may be interrupted and repeated. Raise Failure 404 if nothing is stored, 409 if `new` has
        other tags.
        """
        tags = self.tags(repository)
        there = self._tags.all(new) or {}
        if not there.items() <= tags.items():
            raise Failure(*errors.REPOSITORY_EXISTS)
        if self.is_private(repository):  # first, so that the copy is never public
            self.set_private(new, True)
        for folder in repository.folders:
            for name in self._files(folder):
                key = f"{new.folder}/{name}"
                if not name.startswith(keys.TAG) and not exists(self._storage, key):
                    self._storage.put(key, self._storage.get(f"{folder}/{name}"))
        for tag, image_id in tags.items():
            references = {}
            self._images.keep(image_id)
            if (image := self._images.find(image_id)) is not None:
                references = self._references.prepare(new, tag, image)
            self._write_tag(new, tag, image_id, references)

    def _files(self, folder: str) -> Iterator[str]:
        """Yield the names of the files in a repository's folder, and of those one level below."""
        for entry in list(self._storage.list(folder)):
            if entry.is_folder:
                for child in list(self._storage.list(f"{folder}/{entry.name}")):
                    yield f"{entry.name}/{child.name}"
            else:
                yield entry.name

    def announce(self, repository: RepositoryName) -> None:
        """Notify `events` of all tags of a repository."""
        for tag in self.tags(repository):
            self._events.tagged(repository, tag)

    def is_private(self, repository: RepositoryName) -> bool:
        """Return whether the repository has the private flag."""
        return is_private(self._storage, repository)

    def was_private(self, repository: RepositoryName) -> bool:
        """Return `is_private`, cached for 5 seconds, for checks that are made very often."""
        key = str(repository)
        return self._flags.get(key, lambda: self.is_private(repository), keep=lambda _: True)

    def set_private(self, repository: RepositoryName, private: bool) -> None:
        """Set or delete the private flag, and notify `events`."""
        set_private(self._storage, repository, private)
        self._flags.forget(str(repository))
        self._events.flagged(repository, private)


def _metadata_keys(repository: RepositoryName, tag: Tag | None) -> list[str]:
    """Return the possible keys of a tag's or repository's metadata, the current one first."""
    names = ("json",) if tag is None else keys.tags_metadata(tag)
    return [f"{folder}/{name}" for folder in repository.folders for name in names]


def is_private(storage: Storage, repository: RepositoryName) -> bool:
    """Return whether the repository has the private flag."""
    return any(exists(storage, f"{folder}/_private") for folder in repository.folders)


def set_private(storage: Storage, repository: RepositoryName, private: bool) -> None:
    """Set or delete the private flag, without an event."""
    if private:
        storage.put(f"{repository.folder}/_private", b"")
        return
    for folder in repository.folders:
        storage.delete(f"{folder}/_private")
