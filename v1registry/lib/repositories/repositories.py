"""Repositories and their tags (protocol-v1.md sections 2 and 4)."""

from __future__ import annotations

import re
import time
from typing import Any

from v1registry.lib import documents, errors
from v1registry.lib.errors import Failure
from v1registry.lib.images.images import Images
from v1registry.lib.images.push_provenance import Sender
from v1registry.lib.names import ImageId, RepositoryName, Tag
from v1registry.lib.repositories.events import NOBODY, Events
from v1registry.lib.repositories.references import LIFE, RepositoryReferences
from v1registry.lib.repositories.tags import Tags, Told
from v1registry.lib.repositories.walk import is_repository
from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.storage import Storage, exists, keys
from v1registry.storage.errors import NotFound

Metadata = dict[str, Any]

_LONGEST_ID = 4096  # bytes of a JSON string that holds an image id; more is not parsed

_DEFAULTS: Metadata = {
    "last_update": None,
    "docker_version": None,
    "docker_go_version": None,
    "arch": "amd64",
    "os": "linux",
    "kernel": None,
}

# word of the User-Agent -> (name in the metadata, whether it is lower-cased)
_AGENT_WORDS = {
    "docker": ("docker_version", False),
    "go": ("docker_go_version", False),
    "arch": ("arch", True),
    "kernel": ("kernel", True),
    "os": ("os", True),
}
_AGENT_WORD = re.compile(r"([^\s/]+)/(\S+)")


class Repositories:
    """Reads and writes tags, their metadata, and the access flag; tells `events` of changes."""

    def __init__(
        self,
        storage: Storage,
        images: Images,
        tags: Tags,
        reach: RepositoryReferences,
        events: Events = NOBODY,
    ) -> None:
        self._storage = storage
        self._images = images
        self._tags = tags
        self._reach = reach
        self._events = events
        self._flags: SingleFlightCache[bool] = SingleFlightCache(LIFE)

    # -- tags -----------------------------------------------------------------

    def tags(self, repository: RepositoryName, unreadable: Told | None = None) -> dict[str, str]:
        """All tags with their image ids. Raise Failure 404 if nothing is stored there.

        `unreadable` is called with each unreadable tag and the reason (see `lib.tags`).
        """
        found = self._tags.all(repository, unreadable)
        if found is None:
            raise Failure(*errors.REPOSITORY_NOT_FOUND)
        return found

    def tag(self, repository: RepositoryName, tag: Tag) -> str:
        """The image id of a tag. Raise Failure 404."""
        image_id = self._tags.get(repository, tag)
        if image_id is None:
            raise Failure(*errors.TAG_NOT_FOUND)
        return image_id

    def writable(self, repository: RepositoryName, name: str) -> Tag:
        """The tag of this name, which must be legal or stored already. Raise Failure 400."""
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
    ) -> None:
        """Point a tag to a finished image; `data` is the id as a JSON string.

        `agent` is the User-Agent, from which 0.x makes the tag's metadata.
        Raise Failure 400 for other data, 404 or 400 unless the image is finished, 404 for one that
        the `sender` may not use: with the tag it joins the repository, and is shown to others.
        """
        if len(data) > _LONGEST_ID:
            raise Failure(*errors.DATA_INVALID)
        value = documents.parse_text(data, errors.DATA_INVALID)
        if not isinstance(value, str) or not value:
            raise Failure(*errors.DATA_INVALID)
        if not ImageId.is_valid(value):
            raise Failure(*errors.IMAGE_NOT_FOUND)
        if sender is not None and not sender.may_use(ImageId(value)):
            raise Failure(*errors.IMAGE_NOT_FOUND)
        image = self._images.get(ImageId(value))
        folder = repository.folder
        metadata = documents.dump(metadata_of(agent))
        values = self._reach.claims(repository, tag, image)  # first: nobody reads what is not noted
        values[f"{folder}/{keys.tag(tag)}"] = value.encode("ascii")
        if not tag.startswith("_"):
            # else it would lie where the tag `x_json` does, and 0.x would show it as one
            values[f"{folder}/{keys.tag_metadata(tag)}"] = metadata
        if tag == "latest":
            values[f"{folder}/json"] = metadata
        self._storage.put_all(values)
        self._events.tagged(repository, tag)

    def delete_tag(self, repository: RepositoryName, tag: Tag) -> None:
        """Delete a tag, also an unreadable one. Raise Failure 404 if there is no such tag."""
        stored = self._tags.stored(repository, tag)
        if not stored:
            raise Failure(404, f"{errors.TAG_NOT_FOUND[1]}: {tag}")
        for key in stored:
            self._storage.delete(key)
        for key in _metadata_places(repository, tag):
            if self._tags.read(key) is None:  # else it is the tag `x_json`, not metadata of `_x`
                self._storage.delete(key)
        self._events.tagged(repository, tag)

    # -- metadata ---------------------------------------------------------------

    def metadata(self, repository: RepositoryName, tag: Tag | None = None) -> Metadata:
        """What is noted of a tag, or of the repository (its `latest`); defaults otherwise."""
        for key in _metadata_places(repository, tag):
            try:
                value = documents.load(self._storage.get(key))
            except (NotFound, ValueError):
                continue
            if isinstance(value, dict):
                return value
        return dict(_DEFAULTS)

    # -- the repository -----------------------------------------------------------

    def require(self, repository: RepositoryName) -> None:
        """Raise Failure 404 if nothing at all is stored there."""
        if not any(True for folder in repository.folders for _ in self._storage.list(folder)):
            raise Failure(*errors.REPOSITORY_NOT_FOUND)

    def is_stored(self, repository: RepositoryName) -> bool:
        """Whether the store holds a repository there, and not only a folder of another program."""
        folders = repository.folders
        return any(is_repository(e.name for e in self._storage.list(folder)) for folder in folders)

    def delete(self, repository: RepositoryName) -> None:
        """Delete tags, list and flags; images are kept. Raise Failure 404 if nothing is there."""
        self.require(repository)
        for folder in repository.folders:
            self._storage.delete_folder(folder)
        self._flags.forget(str(repository))
        self._events.deleted(repository)

    def is_private(self, repository: RepositoryName) -> bool:
        return is_private(self._storage, repository)

    def was_private(self, repository: RepositoryName) -> bool:
        """The same, as it was some seconds ago at most: for what is asked again and again."""
        key = str(repository)
        return self._flags.get(key, lambda: self.is_private(repository), keep=lambda _: True)

    def set_private(self, repository: RepositoryName, private: bool) -> None:
        set_private(self._storage, repository, private)
        self._flags.forget(str(repository))
        self._events.flagged(repository, private)


def _metadata_places(repository: RepositoryName, tag: Tag | None) -> list[str]:
    """Where metadata of a tag, or of the repository, may lie, the place that we write to first."""
    names = ("json",) if tag is None else keys.tags_metadata(tag)
    return [f"{folder}/{name}" for folder in repository.folders for name in names]


def is_private(storage: Storage, repository: RepositoryName) -> bool:
    """Whether the repository is flagged so."""
    return any(exists(storage, f"{folder}/_private") for folder in repository.folders)


def set_private(storage: Storage, repository: RepositoryName, private: bool) -> None:
    """Set or take away the flag, and tell nobody."""
    if private:
        storage.put(f"{repository.folder}/_private", b"")
        return
    for folder in repository.folders:
        storage.delete(f"{folder}/_private")


def metadata_of(agent: str) -> Metadata:
    """A tag's metadata from a User-Agent; `last_update` in seconds since the epoch."""
    metadata: Metadata = {"last_update": int(time.time())}
    for word, value in _AGENT_WORD.findall(agent):
        if word in _AGENT_WORDS:
            name, lower = _AGENT_WORDS[word]
            metadata[name] = value.lower() if lower else value
    return metadata
