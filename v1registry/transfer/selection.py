"""The selection of images for a transfer, and the repositories and tags that they become."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag, is_v2_repository
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.selection import NameSelection, Rule
from v1registry.lib.repositories.selection import rule as parsed_rule
from v1registry.lib.repositories.walk import LeftOut
from v1registry.transfer.bundles import Bundle
from v1registry.transfer.errors import TransferError
from v1registry.transfer.layout import NamedImage

_LATEST = "latest"
_MOST_IMAGES = 10_000


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag of the store, its v1 id, and the name of its repository in the target."""

    repository: RepositoryName
    tag: str
    image_id: str
    target: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True)
class ImportSelection:
    """An image of a bundle, and the repository and tag that it gets in the store."""

    key: str
    repository: RepositoryName
    tag: Tag

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Selection(NameSelection):
    """A selection that reads the tags from the store."""

    def select(
        self, names: Sequence[RepositoryName], repositories: Repositories, left_out: LeftOut
    ) -> Iterator[Tagged]:
        """Yield the selected tags by name. Raise TransferError if two repositories get one name.

        `left_out` is called with a repository, its tag, and the reason why the tag cannot be read.
        """
        targets: dict[str, RepositoryName] = {}
        for repository in sorted(names):
            if not self.selects(str(repository)):
                continue
            target = self.target(repository)
            if (other := targets.setdefault(target, repository)) != repository:
                raise TransferError(f"{other} and {repository} would both become {target}")
            try:
                unreadable: dict[str, str] = {}
                tags = repositories.tags(repository, unreadable.__setitem__)
            except Failure:
                continue  # deleted in the meantime
            for tag, reason in sorted(unreadable.items()):
                if self.selects_tag(tag):
                    left_out(str(repository), tag, reason)
            for tag, image_id in sorted(tags.items()):
                if self.selects_tag(tag):
                    yield Tagged(repository, tag, image_id, target)


def selected_images(
    bundle: Bundle, selection: Selection, repository: str | None
) -> list[ImportSelection]:
    """Return the selected images of a bundle, with the repositories and tags that they get.

    `repository` is for images without a complete name. Raise TransferError for an image without a
    name, and for a name that is not legal.
    """
    found: dict[str, ImportSelection] = {}
    for image in bundle.images():
        name, tag = _split(image, repository)
        if not selection.selects_tag(tag):
            continue
        try:
            parsed = RepositoryName.parse(name)
            if not selection.selects(str(parsed)):
                continue
            here = RepositoryName.parse(selection.target(parsed))
            item = ImportSelection(image.key, here, Tag.parse(tag))
        except Failure as failure:
            raise TransferError(f"{name}:{tag}: {failure.text}") from None
        if found.setdefault(str(item), item).key != item.key:
            raise TransferError(f"two images would both become {item}")
        if len(found) > _MOST_IMAGES:
            raise TransferError(
                f"there are more than {_MOST_IMAGES} images: choose with --repositories or --tags"
            )
    return list(found.values())


def _split(image: NamedImage, repository: str | None) -> tuple[str, str]:
    """Return repository and tag of an image, without the host. Raise TransferError."""
    name = (image.name or "").partition("@")[0]
    if name and ":" not in name and "/" not in name and repository is not None:
        return repository, name  # a layout of one repository holds only tags
    head, slash, rest = name.partition("/")
    if slash and (head == "localhost" or "." in head or ":" in head):
        name = rest
    path, colon, tag = name.rpartition(":")
    if not colon:
        path, tag = name, _LATEST
    if repository is not None:
        return repository, tag or _LATEST
    if not path:
        raise TransferError("an image has no name: give it one with --repository")
    return path, tag


def rule(text: str) -> Rule:
    """Parse `old=new` as `lib.repositories.selection.rule`. Raise TransferError."""
    try:
        return parsed_rule(text)
    except ValueError as error:
        raise TransferError(str(error)) from None


def unloadable(target: str, tag: str) -> str | None:
    """Return why Docker and `v1registry import` would refuse the name; None if they accept it."""
    try:
        RepositoryName.parse(target)
    except Failure:
        return f"{target} is no legal name for a repository: rename it with --map"
    return None if Tag.is_valid(tag) else f"{tag!r} is no legal tag: push the image by another tag"


def refused(target: str, tag: str) -> str | None:
    """Return why a v2 registry would refuse the repository or tag; None if it accepts them."""
    if not is_v2_repository(target):
        return f"{target} is no name for a repository of a v2 registry: rename it with --map"
    if not Tag.is_valid(tag):
        return f"{tag!r} is no tag for a v2 registry"
    return None
