"""Parsing of paths below `/v1/repositories/`, from the right (protocol-v1.md section 1)."""

from __future__ import annotations

from typing import NamedTuple

from werkzeug.routing import PathConverter

from v1registry.lib.names import ImageId, RepositoryName


class AnyPath(PathConverter):
    """Like werkzeug's `path`, but it matches newlines too: `lib.names`, not the router, checks names."""

    regex = r"[^/][\s\S]*?"


class V1Target(NamedTuple):
    """The action, the repository and the tag of a path.

    `action` is repository, images, auth, tags, tag, tag_json, json, properties or access. For
    `access`, `tag` is an image id.
    """

    action: str
    repository: RepositoryName
    tag: str | None = None


def parse(path: str) -> V1Target:
    """Return the target of a path. Raise Failure 400 unless a store may hold the repository name.

    The caller decides about names that are not `is_legal` (see `api.v1.repository_routes`). A tag
    may be named like an action, the last component of a repository may not. So `a/b/tags/json` is
    the tag `json` of `a/b`.
    """
    head, _, last = path.rstrip("/").rpartition("/")
    before, _, word = head.rpartition("/")
    if word == "tags" and before:
        return V1Target("tag", RepositoryName.parse_stored(before), last)
    if last == "json" and before.endswith("/tags"):
        return V1Target("tag_json", RepositoryName.parse_stored(before.removesuffix("/tags")), word)
    if last == "access" and before.endswith("/layer") and ImageId.is_valid(word):
        return V1Target("access", RepositoryName.parse_stored(before.removesuffix("/layer")), word)
    if last in ("images", "auth", "tags", "json", "properties") and head:
        return V1Target(last, RepositoryName.parse_stored(head))
    return V1Target("repository", RepositoryName.parse_stored(path))
