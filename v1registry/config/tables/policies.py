"""Options for policies of the store."""

from __future__ import annotations

from v1registry.config.option import option, table
from v1registry.config.policies import TagRule


@table
class PolicyOptions:
    """Options for policies of the store."""

    immutable_tags: tuple[TagRule, ...] = option("tag rules", [])
    """A list of rules, each with `repository` and `tags`: globs with `*` and `?`, in quotes. A tag
    that a rule matches keeps its first image: pushes of another image, and deletions, get 409. See
    [deleting](deleting.md#immutable-tags)."""
