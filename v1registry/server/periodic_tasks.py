"""The periodic tasks of a worker, and its scan of pushed layers."""

from __future__ import annotations

import random
from typing import Any

import gevent

from v1registry.lib.errors import Failure
from v1registry.lib.support.periodic import PeriodicTask
from v1registry.server.thread_pool import BackgroundThread
from v1registry.storage.errors import ReadOnly, StorageError


def start(worker: Any) -> None:
    """gunicorn's `post_worker_init` hook: start the periodic tasks of this worker, if it has any."""
    services = getattr(worker.wsgi, "extensions", {}).get("v1registry")
    if services is None:
        return
    for task in services.periodic_tasks:
        gevent.spawn(_repeat, task, worker.log)
    view = getattr(services, "v2", None)  # not in an index alone
    if view is not None and view.pushed is not None:
        gevent.spawn(_scan_pushed, services.images, view, worker.log)


def end(worker: Any) -> None:
    """gunicorn's `worker_exit` hook: run the tasks that must run once more at the end."""
    app = getattr(worker, "wsgi", None)  # missing if the worker could not start
    services = getattr(app, "extensions", {}).get("v1registry")
    for task in services.periodic_tasks if services is not None else ():
        if task.at_end:
            _run(task, worker.log)


def _repeat(task: PeriodicTask, log: Any) -> None:
    # A random delay: workers that started together must not run the task at the same time.
    gevent.sleep(random.uniform(0, min(task.interval, task.delay)))
    while True:
        _run(task, log)
        gevent.sleep(task.interval)


def _run(task: PeriodicTask, log: Any) -> None:
    try:
        report = task.run()
    except ReadOnly as error:
        log.info("%s: not now: %s", task.name, error)
    except (StorageError, Failure) as error:
        log.warning("%s failed: %r", task.name, error)
    except Exception:
        log.exception("%s failed", task.name)
    else:
        if report:
            log.info("%s: %s", task.name, report)


def _scan_pushed(images: Any, view: Any, log: Any) -> None:
    """Scan each pushed layer for v2 clients. `scan_pushed` logs damaged layers."""
    background = BackgroundThread()
    while True:
        image_id = view.pushed.next()
        try:
            image = images.find(image_id)
            if image is not None:
                view.blobs.scan_pushed(image, background)
        except (StorageError, Failure) as error:
            log.warning("Reading the layer of %s failed: %r", image_id, error)
        except Exception:
            log.exception("Reading the layer of %s failed", image_id)
