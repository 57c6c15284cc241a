"""What a path below `/v1/repositories/` asks for, resolved from the right (protocol-v1.md section 1)."""

from __future__ import annotations

from typing import NamedTuple

from werkzeug.routing import PathConverter

from v1registry.lib.names import ImageId, RepositoryName


class AnyPath(PathConverter):
    """Like `path`, but a newline is a character too: names are judged here, not by the router."""

    regex = r"[^/][\s\S]*?"


class V1Target(NamedTuple):
    """`action` is repository, images, auth, tags, tag, tag_json, json, properties or access.

    `tag` is a tag; of `access` the id of an image.
    """

    action: str
    repository: RepositoryName
    tag: str | None = None


def parse(path: str) -> V1Target:
    """Resolve the suffix; raise Failure 400 if no name is left that a store may hold.

    A name that is not `is_legal` is for the caller to judge (see `api.actions`).

    A tag may be called like one of the words, a repository's last part may not:
    so `a/b/tags/json` is the tag `json` of `a/b`.
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
