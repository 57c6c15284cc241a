"""Parsing of paths below `/v2/`, from the right: repository names have any number of components."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from v1registry.api.ocierrors import OciFailure
from v1registry.lib.names import Digest, RepositoryName, Tag


class V2Target(NamedTuple):
    """The action, the repository and the reference of a path.

    `action` is base, catalog, tags, manifest, blob or referrers. The last three have a `reference`.
    """

    action: str
    repository: RepositoryName | None = None
    reference: Tag | Digest | None = None


@lru_cache(maxsize=1024)  # clients repeat the same paths; calls that raise are not cached
def parse(path: str) -> V2Target:
    """Return the target of a path. Raise Failure 400 for an illegal name, 404 for another path."""
    if path == "":
        return V2Target("base")
    if path == "_catalog":
        return V2Target("catalog")
    head, _, last = path.rpartition("/")
    before, _, word = head.rpartition("/")
    if before and last:
        if (word, last) == ("tags", "list"):
            return V2Target("tags", RepositoryName.parse(before))
        if word == "manifests":
            kind = Digest.parse if ":" in last else Tag.parse_existing
            return V2Target("manifest", RepositoryName.parse(before), kind(last))
        if word == "referrers":
            return V2Target("referrers", RepositoryName.parse(before), Digest.parse_any(last))
        if word == "blobs":
            return V2Target("blob", RepositoryName.parse(before), Digest.parse(last))
    raise OciFailure(404, "UNSUPPORTED", "There is nothing at this path")
