"""Scheduled work of a serving process: removing what broken pushes left, guarded by a lease."""

from __future__ import annotations

import random
import time
from typing import Any

import gevent

from v1registry.edge.offload import offload
from v1registry.lib import lease
from v1registry.storage.errors import StorageError


def start(worker: Any) -> None:
    """gunicorn's `post_worker_init` hook: begin the chores of this process, if any are due."""
    parts = getattr(worker.wsgi, "extensions", {}).get("v1registry")
    if parts is not None and parts.config.clean_interval and not parts.config.read_only:
        gevent.spawn(_clean_for_ever, parts, worker.log)


def _clean_for_ever(parts: Any, log: Any) -> None:
    interval = parts.config.clean_interval
    # processes that began together must not all ask at once
    gevent.sleep(random.uniform(0, min(interval, 60)))
    while True:
        try:
            clean(parts, log, interval)
        except StorageError as error:
            log.warning("Cleaning up failed: %r", error)
        except Exception:
            log.exception("Cleaning up failed")
        gevent.sleep(interval)


def clean(parts: Any, log: Any, interval: float) -> None:
    """One round, unless another process did it within the interval."""
    if not lease.take(parts.storage, "clean", 0.9 * interval):
        return
    report = offload(parts.cleaner.clean, time.time() - parts.config.uploads_life)
    if report.any():
        log.info("Cleaned up: %s", report)
