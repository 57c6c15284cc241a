"""Names: the only pattern of each kind of name, and its parser.

Names are parsed when a request arrives. Patterns from protocol-v1.md sections 1 and 9. All of them
match the whole text and ASCII only: `$` would accept a trailing newline, and `\\w` Unicode.
"""

from __future__ import annotations

import re
from typing import ClassVar, NamedTuple, Self
from urllib.parse import quote, unquote

from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.storage import keys

_NAMESPACE = re.compile(r"[a-z0-9._-]{1,255}")
_REPOSITORY = re.compile(r"[a-z0-9._-]+(?:/[a-z0-9._-]+)*")
_V2_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_V2_REPOSITORY = re.compile(rf"{_V2_COMPONENT}(?:/{_V2_COMPONENT})*")
_OLD_NAMESPACE = re.compile(r"[a-z0-9_]{4,30}")
_NEVER = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # no URL can contain such a name

NAME_LIMIT = 255  # characters of a repository name, and of a file name on most systems
RESERVED = frozenset({"images", "auth", "tags", "json", "properties"})


class _Name(str):
    """A name that matches a pattern. Any other text is the failure."""

    __slots__ = ()
    _pattern: ClassVar[re.Pattern[str]]
    _failure: ClassVar[errors.Text]

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return a legal name. Raise Failure for anything else."""
        if cls.is_valid(text):
            return cls(text)
        raise Failure(*cls._failure)

    @classmethod
    def is_valid(cls, text: object) -> bool:
        return isinstance(text, str) and cls._pattern.fullmatch(text) is not None


class ImageId(_Name):
    """A v1 image id: 64 lowercase hex digits, or 16 in old stores. Others get Failure 404."""

    __slots__ = ()
    _pattern = re.compile(r"[a-f0-9]{64}|[a-f0-9]{16}")
    _failure = errors.IMAGE_ID_INVALID


class AccountName(_Name):
    """The name of an account of an index, and of its namespace. Others get Failure 400."""

    __slots__ = ()
    _pattern = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}")
    _failure = errors.ACCOUNT_NAME_INVALID


class Tag(_Name):
    """The name of a tag that may be written, and current clients can ask for. Others get Failure 400."""

    __slots__ = ()
    _pattern = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
    _failure = errors.TAG_NAME_INVALID

    @classmethod
    def parse_existing(cls, text: str) -> Tag:
        """Return a tag of an old store, for reading or deleting; raise Failure 404."""
        if cls.may_exist(text):
            return cls(text)
        raise Failure(*errors.TAG_NOT_FOUND)

    @classmethod
    def may_exist(cls, text: str) -> bool:
        """Return whether clients can ask for the tag in a store that 0.x may have written."""
        if cls.is_valid(text):
            return True
        return bool(text) and not _NEVER.search(text) and len(keys.tag_metadata(text)) <= NAME_LIMIT


class Digest(_Name):
    """The digest of a blob or a manifest: `sha256:` and the SHA-256 of its bytes. Others get Failure 400."""

    __slots__ = ()
    _pattern = re.compile(r"sha256:[a-f0-9]{64}")
    _failure = errors.DIGEST_INVALID
    _any = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+")

    @classmethod
    def parse_any(cls, text: str) -> Digest:
        """Parse a digest of any algorithm (OCI image specification). Only SHA-256 is stored here."""
        fits = len(text) <= NAME_LIMIT and cls._any.fullmatch(text) is not None
        return cls(text) if fits and not text.startswith("sha256:") else cls.parse(text)


class RepositoryName(NamedTuple):
    """A namespace and a name; `busybox` and `library/busybox` are the same repository."""

    namespace: str
    name: str

    @property
    def is_legal(self) -> bool:
        """Whether clients may create a repository of this name."""
        return True

    @classmethod
    def parse(cls, path: str) -> RepositoryName:
        """Split at the first `/`; raise Failure 400 for an invalid name."""
        namespace, slash, name = path.rstrip("/").partition("/")
        if not slash:
            namespace, name = "library", namespace
        result = cls(namespace, name)
        components = [namespace, *name.split("/")]
        if (
            not _NAMESPACE.fullmatch(namespace)
            or not _REPOSITORY.fullmatch(name)
            or any(component in (".", "..") for component in components)
            or components[-1] in RESERVED
            or len(str(result)) > NAME_LIMIT
            or len(result.folder.rpartition("/")[2]) > NAME_LIMIT
        ):
            raise Failure(*errors.REPOSITORY_NAME_INVALID)
        return result

    @classmethod
    def parse_stored(cls, path: str) -> RepositoryName:
        """Parse a name in a store of docker-registry 0.x, which had no rule for names.

        The result is not `is_legal` if `parse` refuses it. Raise Failure 400 for a name that no URL
        can contain.
        """
        try:
            return cls.parse(path)
        except Failure:
            namespace, slash, name = path.rstrip("/").partition("/")
            found = StoredName(*((namespace, name) if slash else ("library", namespace)))
            if not found.is_reachable():
                raise
            return found

    @classmethod
    def parse_quoted(cls, text: str) -> RepositoryName:
        """Undo `quoted`. Raise Failure 400."""
        return cls.parse_stored(unquote(text))

    @classmethod
    def of_folders(cls, namespace: str, folder: str) -> RepositoryName | None:
        """Return the repository stored in these two folders; None if no URL can contain its name."""
        for names in keys.repository_names(namespace, folder):
            try:
                found = cls.parse_stored("/".join(names))
            except Failure:
                continue
            if f"{keys.REPOSITORIES}/{namespace}/{folder}" in found.folders:
                return found
        return None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def quoted(self) -> str:
        """The name in a URL or a token: equal to the name if that is legal."""
        return quote(str(self), safe="/")

    @property
    def folder(self) -> str:
        """The key of the folder that 0.9.1 uses and this version writes."""
        return keys.repository(self.namespace, self.name)

    @property
    def folders(self) -> tuple[str, ...]:
        """All folders that may contain the repository, the one that this version writes first."""
        older = keys.repository_before_081(self.namespace, self.name)
        return (self.folder,) if older == self.folder else (self.folder, older)


class StoredName(RepositoryName):
    """A name that is not legal: such a repository is read and deleted, never created."""

    __slots__ = ()

    @property
    def is_legal(self) -> bool:
        return False

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of the name, except those that 0.8.1 and later use for another name.

        `team/a%2Fb` must not lead to `team/a/b`, to which other access rules may apply.
        """
        own, *older = super().folders
        return own, *(folder for folder in older if not self._belongs_to_another(folder))

    def _belongs_to_another(self, folder: str) -> bool:
        _, namespace, name = folder.split("/")
        other = keys.repository_names(namespace, name)[0]
        if other == self or keys.repository(*other) != folder:
            return False
        try:
            RepositoryName.parse_stored("/".join(other))
        except Failure:
            return False
        return True

    def is_reachable(self) -> bool:
        """Return whether a path below `/v1/repositories/` leads to this repository and no other."""
        parts = [self.namespace, *self.name.split("/")]
        if _NEVER.search(str(self)) or any(part in ("", ".", "..") for part in parts):
            return False
        longest = max(map(len, [self.quoted, *self.folder.split("/")]))
        return parts[-1] not in RESERVED and longest <= NAME_LIMIT


def glob(text: str) -> re.Pattern[str]:
    """Return a pattern for whole names: `*` stands for any text including slashes, `?` for a character."""
    return re.compile("".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in text))


def is_v2_repository(name: str) -> bool:
    """Return whether a v2 registry allows this repository name (OCI distribution specification)."""
    return len(name) <= NAME_LIMIT and _V2_REPOSITORY.fullmatch(name) is not None


def check_namespace(name: str) -> None:
    """Raise Failure 400 for an invalid namespace."""
    if not _NAMESPACE.fullmatch(name) or name in (".", ".."):
        raise Failure(*errors.NAMESPACE_NAME_INVALID)


def suits_old_engines(namespace: str) -> bool:
    """Return whether Docker engines up to 1.5 accept a namespace; later ones accept more."""
    return _OLD_NAMESPACE.fullmatch(namespace) is not None
