"""The scheduled work of a serving process, beside its requests; and reading what was pushed."""

from __future__ import annotations

import random
from typing import Any

import gevent

from v1registry.lib.errors import Failure
from v1registry.lib.support.periodic import PeriodicTask
from v1registry.server.thread_pool import BackgroundThread
from v1registry.storage.errors import StorageError


def start(worker: Any) -> None:
    """gunicorn's `post_worker_init` hook: begin the chores of this process, if any are due."""
    parts = getattr(worker.wsgi, "extensions", {}).get("v1registry")
    if parts is None:
        return
    for chore in parts.chores:
        gevent.spawn(_for_ever, chore, worker.log)
    view = getattr(parts, "v2", None)  # an index alone has none
    if view is not None and view.pushed is not None:
        gevent.spawn(_read_pushed, parts.images, view, worker.log)


def end(worker: Any) -> None:
    """gunicorn's `worker_exit` hook: do what must not be left undone."""
    app = getattr(worker, "wsgi", None)  # none, if it did not come so far
    parts = getattr(app, "extensions", {}).get("v1registry")
    for chore in parts.chores if parts is not None else ():
        if chore.at_end:
            _once(chore, worker.log)


def _for_ever(chore: PeriodicTask, log: Any) -> None:
    # processes that began together must not all do it at once
    gevent.sleep(random.uniform(0, min(chore.interval, chore.delay)))
    while True:
        _once(chore, log)
        gevent.sleep(chore.interval)


def _once(chore: PeriodicTask, log: Any) -> None:
    try:
        report = chore.run()
    except (StorageError, Failure) as error:
        log.warning("%s failed: %r", chore.name, error)
    except Exception:
        log.exception("%s failed", chore.name)
    else:
        if report:
            log.info("%s: %s", chore.name, report)


def _read_pushed(images: Any, view: Any, log: Any) -> None:
    """Find out what v2 clients must know of each pushed layer; damage is logged where it is found."""
    quiet = BackgroundThread()
    while True:
        image_id = view.pushed.next()
        try:
            image = images.find(image_id)
            if image is not None:
                view.blobs.scan_pushed(image, quiet)
        except (StorageError, Failure) as error:
            log.warning("Reading the layer of %s failed: %r", image_id, error)
        except Exception:
            log.exception("Reading the layer of %s failed", image_id)
