"""The services that take care of the store."""

from __future__ import annotations

from concurrent.futures import Executor

from v1registry.config import Config
from v1registry.lib.images.hidden import LEASE
from v1registry.lib.maintenance.collector import GarbageCollector
from v1registry.lib.repositories.backfill import BackfillRun
from v1registry.lib.repositories.tags import Tags
from v1registry.lib.support.lease import Lease
from v1registry.storage import Storage

_LEASE_SECONDS = 600.0
_MARGIN = 60.0  # seconds by which garbage collection waits longer than any push or cache


def gc_lease(storage: Storage) -> Lease:
    """Return the lease that a process must hold while it collects garbage."""
    return Lease(storage, LEASE, _LEASE_SECONDS)


def garbage_collector(
    config: Config, storage: Storage, lease: Lease | None, pool: Executor, run: BackfillRun
) -> GarbageCollector:
    """Return the collector. Between hiding and deleting, every push ends and every cache expires.

    The progress of `run` extends the lease, too. Without a lease the collector may only plan.
    """
    extend, show = lease.extend if lease else _nothing, run.progress

    def progress(what: str, done: int, total: int | None, size: int = 0) -> None:
        extend()
        show(what, done, total, size)

    run.progress = progress
    wait = _MARGIN + max(config.uploads_life, config.cache_life, config.cache_shared_life)
    return GarbageCollector(storage, Tags(storage), wait, run, pool, still_held=extend)


def _nothing() -> None:
    pass
