"""What a path below `/v2/` asks for, resolved from the right: names may have any number of parts."""

from __future__ import annotations

from typing import NamedTuple

from v1registry.api.ocierrors import OciFailure
from v1registry.lib.names import RepositoryName


class Target(NamedTuple):
    """`action` is base, catalog, tags, manifest or blob; `reference` a tag or a digest."""

    action: str
    repository: RepositoryName | None = None
    reference: str = ""


def parse(path: str) -> Target:
    """Raise Failure 400 for a name that is none, 404 for a path that is nothing."""
    if path == "":
        return Target("base")
    if path == "_catalog":
        return Target("catalog")
    head, _, last = path.rpartition("/")
    before, _, word = head.rpartition("/")
    if before and last:
        if (word, last) == ("tags", "list"):
            return Target("tags", RepositoryName.parse(before))
        if word == "manifests":
            return Target("manifest", RepositoryName.parse(before), last)
        if word == "blobs":
            return Target("blob", RepositoryName.parse(before), last)
    raise OciFailure(404, "UNSUPPORTED", "There is nothing at this path")
