"""gunicorn's master process, repaired where a registry with long transfers would suffer.

gunicorn 27's master, on SIGHUP, waits for its old workers and does nothing else: with a graceful
time of an hour and one slow download it ignores SIGTERM, replaces no crashed worker and takes no
second SIGHUP for that hour. It also loses a SIGTERM that it sends to a worker still starting, then
waits as long for it; and a broken configuration ends it on reload. There is no setting for another
master class, so `on_starting` makes the running one ours.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]

from v1registry.edge.settings import raise_open_files

HELD_WHILE_STARTING = frozenset((signal.SIGTERM, signal.SIGQUIT, signal.SIGINT))
"""Blocked from before the fork until the worker has its own handlers; see Worker.init_signals."""


def on_starting(server: Any) -> None:
    """gunicorn's hook: `server` becomes a Master, with enough open files."""
    server.__class__ = Master
    server.retired = 0
    server.reloading = False
    raise_open_files(server)


class _Reloaded(Exception):
    """Ends gunicorn's reload where it begins to wait."""


class Master(Arbiter):  # type: ignore[misc]
    """Workers up to the age `retired` belong to an earlier configuration and are finishing."""

    retired: int
    reloading: bool

    def reload(self) -> None:
        """SIGHUP: new workers take over, old ones finish while the master goes on as ever.

        With a configuration that cannot be used everything stays as it is.
        """
        age = self.worker_age
        before = self.app.cfg
        self.reloading = True
        try:
            super().reload()
        except _Reloaded:
            pass
        except SystemExit as end:
            if os.getpid() != self.pid:
                raise  # a worker, forked in there, has come to its end
            self.app.cfg = before
            self.log.error("Not reloaded, the old configuration stays: %s", end.code)
            return
        finally:
            self.reloading = False
        self.retired = age
        self.manage_workers()

    def reap_workers(self) -> None:
        """Take note of ended workers."""
        if self.reloading:
            raise _Reloaded
        super().reap_workers()

    def manage_workers(self) -> None:
        """Keep `num_workers` of the current configuration, whatever old ones still do."""
        current = []
        for pid, worker in list(self.WORKERS.items()):
            if worker.age <= self.retired:
                self.kill_worker(pid, signal.SIGTERM)
            else:
                current.append((worker.age, pid))
        for _ in range(self.num_workers - len(current)):
            self.spawn_worker()
        for _, pid in sorted(current)[: max(0, len(current) - self.num_workers)]:
            self.kill_worker(pid, signal.SIGTERM)

    def spawn_worker(self) -> Any:
        """Fork a worker that gets every signal, also those sent before it can handle them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_WHILE_STARTING)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_WHILE_STARTING)
