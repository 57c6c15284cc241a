"""What a deletion of tags affects, for the question before it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from v1registry.api.services import RegistryServices
from v1registry.lib.auth.rights import Access
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.web.formats import short_id
from v1registry.web.texts import gettext as _
from v1registry.web.texts import ngettext

_MOST_LINES = 60
_MOST_TAGS = 500  # that are read in the store, to find those with the same image
_MOST_REPOSITORIES = 5  # that are named for one image
_MOST_CHECKS = 100  # of repositories, for all images of one question


def preview(services: RegistryServices, target: RepositoryName, names: list[str]) -> list[str]:
    """Return a line for each tag: its image, and what else uses this image.

    Only repositories that the visitor may see are named.
    """
    tags, are_all = _tags(services, target, names[:_MOST_LINES])
    nothing = _("nothing else") if are_all else _("nothing else that was looked at")
    checks = iter(range(_MOST_CHECKS))
    users: dict[str, list[str]] = {}
    lines = []
    for name in names[:_MOST_LINES]:
        image = tags.get(name)
        if image is None:
            lines.append(_("%(tag)s: it is deleted already, or cannot be read") % {"tag": name})
            continue
        if image not in users:
            others = [tag for tag, other in tags.items() if other == image and tag not in names]
            users[image] = [
                *(_("tag %(tag)s") % {"tag": tag} for tag in others[:_MOST_REPOSITORIES]),
                *islice(_elsewhere(services, target, image, checks), _MOST_REPOSITORIES),
            ]
        used = ", ".join(users[image]) or nothing
        values = {"tag": name, "image": short_id(image), "users": used}
        lines.append(_("%(tag)s: image %(image)s, which is also used by: %(users)s") % values)
    if rest := len(names) - len(lines):
        text = ngettext("and %(num)d more tag", "and %(num)d more tags", rest)
        lines.append(text % {"num": rest})
    return lines


def _tags(
    services: RegistryServices, target: RepositoryName, names: list[str]
) -> tuple[dict[str, str], bool]:
    """Return the images of tags, and whether these are all tags of the repository.

    An index of our own knows all of them. Without one, the store may have very many files to read.
    """
    if services.index is not None:
        user = services.authorizer.caller().user
        known, total = dict(services.index.catalog.get(target, user).tags), 0
    else:
        total, read = services.v2.tags.page(target, "", 0, _MOST_TAGS) or (0, [])
        known = dict(read)
    for name in names:  # the store decides
        image = services.v2.tags.get(target, name)
        if image is not None:
            known[name] = image
        else:
            known.pop(name, None)
    return known, total <= _MOST_TAGS


def _elsewhere(
    services: RegistryServices, target: RepositoryName, image: str, checks: Iterator[int]
) -> Iterator[str]:
    """Yield the other repositories that contain the image, as far as the visitor may see them."""
    references = services.references
    for other in references.candidates(ImageId(image)):
        if next(checks, None) is None:
            return
        is_other = other != target and services.authorizer.allows(other, Access.PULL)
        if is_other and references.contains(other, ImageId(image)):
            yield str(other)
