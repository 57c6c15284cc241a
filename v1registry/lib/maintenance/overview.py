"""The state of a registry at a glance, without a walk over the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from v1registry.lib.errors import Failure
from v1registry.lib.maintenance import collector
from v1registry.lib.repositories.search import Search, Totals
from v1registry.lib.support.health import Health
from v1registry.storage import Space, Storage
from v1registry.storage.errors import StorageError
from v1registry.storage.readonly import ReadOnlyState, ReadOnlySwitch

T = TypeVar("T")

_STORE = "storage"  # the name of the store among the services


@dataclass(frozen=True, slots=True)
class Overview:
    """Services by name and whether they work, totals, space, and running garbage collections.

    None: not known now, because the service that knows it fails. `space` is also None for a store
    without a known limit. `read_only` is the state of the switch, None while it is off. `collections` are the times at which they began.
    """

    services: dict[str, bool]
    totals: Totals | None
    space: Space | None
    collections: list[float] | None
    read_only: ReadOnlyState | None


def overview(
    health: Health, search: Search, storage: Storage | None, switch: ReadOnlySwitch | None
) -> Overview:
    """Look at all services. `storage` and `switch` are None for an index without a registry."""
    failing = health.failing()
    space, collections = None, None
    if storage is not None and _STORE not in failing:
        space = _known(storage.space)
        collections = _known(lambda: collector.running(storage))
    services = {name: name not in failing for name in health.names}
    read_only = _known(switch.state) if switch is not None else None
    return Overview(services, _known(search.totals), space, collections, read_only)


def _known(look: Callable[[], T]) -> T | None:
    """Return what `look` returns; None if the store or the database fails."""
    try:
        return look()
    except (Failure, StorageError):
        return None
