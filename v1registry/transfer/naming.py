"""Names of images in archives and layouts, and the repositories and tags that they become."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, Tag
from v1registry.transfer.bundles import Bundle
from v1registry.transfer.errors import TransferError
from v1registry.transfer.importing import ImportSelection
from v1registry.transfer.oci_bundle import NamedImage
from v1registry.transfer.selection import Selection

_LATEST = "latest"
_MOST_IMAGES = 10_000


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
        if not _fits(tag, selection.tags):
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


def _fits(tag: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatch.fnmatchcase(tag, glob) for glob in globs)
