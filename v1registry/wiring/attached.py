"""The services that a database adds to a registry; none without a database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from v1registry.api.services import IndexServices
from v1registry.lib.auth.rights import Rights
from v1registry.lib.repositories.repositories import Events
from v1registry.lib.repositories.search import Search
from v1registry.lib.support.counts import Counts
from v1registry.lib.support.health import Service
from v1registry.lib.support.periodic import PeriodicTask


def _no_search(_rights: Rights) -> None:
    return None


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class AttachedIndex:
    """The added services. `rights` and `index` are set if this registry is an index itself.

    `search(rights)` returns a search in the database, or None without a database.
    """

    events: Events = field(default_factory=Events)
    rights: Rights | None = None
    index: IndexServices | None = None
    search: Callable[[Rights], Search | None] = _no_search
    service: Service | None = None
    periodic_tasks: tuple[PeriodicTask, ...] = ()
    counts: Counts | None = None  # shared by all nodes that use the database
    prepare: Callable[[], None] = _nothing
