"""The services that take care of the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor

from v1registry.api.services import RegistryServices
from v1registry.config import Config
from v1registry.lib.images.commit import Commits
from v1registry.lib.images.hidden import LEASE
from v1registry.lib.maintenance.collector import GarbageCollector
from v1registry.lib.maintenance.repair import Repairs
from v1registry.lib.maintenance.store_checks import StoreChecks
from v1registry.lib.repositories.backfill import BackfillProgress, BackfillRun
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
    extend = lease.extend if lease else _nothing
    run.progress = extending(run.progress, extend)
    wait = _MARGIN + max(config.uploads_life, config.cache_life, config.cache_shared_life)
    return GarbageCollector(storage, Tags(storage), wait, run, pool, still_held=extend)


def verify_lease(storage: Storage) -> Lease:
    """Return the lease that a process must hold while it saves how far `verify` is."""
    return Lease(storage, "verify", _LEASE_SECONDS)


def store_checks(
    config: Config, services: RegistryServices, glob: str | None, *, deep: bool
) -> StoreChecks:
    """Return the checks of `verify`, with the limits of the configuration."""
    return StoreChecks(
        services.storage,
        services.v2.tags,
        glob=glob,
        deep=deep,
        before=time.time() - config.uploads_life,
        max_bytes=config.limits.files_bytes,
    )


def repairs(config: Config, services: RegistryServices, checks: StoreChecks) -> Repairs:
    """Return the repairs of what these checks find."""
    return Repairs(
        services.storage,
        services.images,
        Commits(services.storage),
        services.v2.tags,
        services.references,
        services.v2.blobs,
        services.cleaner,
        checks.parents,
        config.uploads_life,
    )


def extending(show: BackfillProgress, *extend: Callable[[], object]) -> BackfillProgress:
    """Return a progress that also extends leases."""

    def progress(what: str, done: int, total: int | None, size: int = 0) -> None:
        for one in extend:
            one()
        show(what, done, total, size)

    return progress


def _nothing() -> None:
    pass
