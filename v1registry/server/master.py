"""The master process of `v1registry serve`: gunicorn's Arbiter, changed for workers with long transfers.

It changes these properties of gunicorn 27's master:

- On SIGHUP, gunicorn waits for its old workers and does nothing else. With a graceful timeout of an
  hour, one slow download makes it ignore SIGTERM, crashed workers and a second SIGHUP for that hour.
- gunicorn loses a SIGTERM that it sends to a worker that is still starting, and waits as long for it.
- A broken configuration ends gunicorn's master on reload.
- One worker that cannot start ends gunicorn's master and all workers, at any time. A store that is
  unavailable for a second would be enough.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.app.wsgiapp import WSGIApplication  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.errors import HaltServer  # type: ignore[import-untyped]
from gunicorn.sock import ssl_context  # type: ignore[import-untyped]

HELD_WHILE_STARTING = frozenset((signal.SIGTERM, signal.SIGQUIT, signal.SIGINT))
"""Signals blocked from before the fork until the worker has its handlers; see Worker.init_signals."""

_LONGEST_PAUSE = 30.0  # seconds between two attempts to start a worker


class _Reloaded(Exception):
    """Raised to leave gunicorn's reload before it waits for the old workers."""


class Master(Arbiter):  # type: ignore[misc]
    """gunicorn's Arbiter, whose workers up to the age `retired` belong to an earlier configuration.

    Those serve until the workers of the current configuration can, and then finish their requests.
    A worker that cannot start ends the master only if no worker ever could. After that, the master
    keeps retrying. `stopped` holds the process ids of workers that were told to end. `page` is the URL
    of the pages, which the master logs once its workers serve.
    """

    retired = 0
    reloading = False
    has_served = False
    failures = 0
    failed_age = 0  # of the newest worker at the last failure
    next_try = 0.0
    page: str | None = None

    def __init__(self, app: Any) -> None:
        self.stopped: set[int] = set()
        super().__init__(app)

    def reload(self) -> None:
        """Start workers with the new configuration (SIGHUP); do not wait for the old ones.

        If the new configuration cannot be used, the old configuration and its workers stay.
        """
        before = self.app.cfg, self.retired
        self.retired = self.worker_age
        self.failures, self.next_try = 0, 0.0
        self.reloading = True
        try:
            super().reload()
        except _Reloaded:
            pass
        except SystemExit as end:
            if os.getpid() != self.pid:
                raise  # in a worker that was forked by super().reload() and now exits
            self.app.cfg, self.retired = before
            self.log.error("Not reloaded, the old configuration stays: %s", end.code)
        finally:
            self.reloading = False

    def setup(self, app: Any) -> None:
        """Apply the configuration of `app`, at the start and at a reload."""
        if self.reloading:
            self._check_reload(app.cfg)
        super().setup(app)

    def _check_reload(self, cfg: Any) -> None:
        """Keep the addresses of the start; raise SystemExit if the certificate cannot be loaded.

        The old workers still listen on the addresses, so they cannot be opened again.
        """
        if cfg.address != self.cfg.address:
            self.log.warning("Addresses change with a restart only, not with a reload")
            cfg.set("bind", self.cfg.bind)
        if cfg.is_ssl:
            try:
                ssl_context(cfg)  # its files may also come from gunicorn's own options
            except OSError as error:  # SSLError is one
                sys.exit(f"the certificate and key cannot be loaded: {error}")

    def reap_workers(self) -> None:
        """Note which workers have ended; schedule a retry for one that could not start."""
        if self.reloading:
            raise _Reloaded
        before = None
        while before != (before := dict(self.WORKERS)):
            served = {pid for pid, worker in before.items() if _serves(worker)}
            self.has_served = self.has_served or bool(served)
            if any(before[pid].age > self.failed_age for pid in served):
                self.failures = 0  # even if it was killed since: a worker can start again
            try:
                super().reap_workers()
            except HaltServer:
                if not self.has_served and self.LISTENERS:  # no listeners: the master is stopping
                    raise
                for pid in before.keys() - self.WORKERS.keys():
                    before[pid].tmp.close()  # the exception skipped gunicorn's own call
            # For any exit status: gunicorn treats only two of them as boot errors. After any other it
            # would replace the worker at once, without a pause, for ever.
            if before.keys() - self.WORKERS.keys() - served - self.stopped and self.LISTENERS:
                if not self.has_served:
                    raise HaltServer("No worker could start, see above", self.WORKER_BOOT_ERROR)
                self._retry_later()
            self.stopped &= self.WORKERS.keys()

    def kill_worker(self, pid: int, sig: int) -> None:
        """Signal a worker, and note that it was told to end."""
        self.stopped.add(pid)
        super().kill_worker(pid, sig)

    def _retry_later(self) -> None:
        if time.monotonic() < self.next_try:
            return  # already logged for another worker of this attempt
        pause = min(_LONGEST_PAUSE, 2.0**self.failures)
        self.failures += 1
        self.failed_age = self.worker_age
        self.next_try = time.monotonic() + pause
        serving = sum(map(_serves, self.WORKERS.values()))
        self.log.error(
            "A worker cannot start, for the reason above; %d others serve on, next try in %.0f s",
            serving,
            pause,
        )

    def manage_workers(self) -> None:
        """Keep `num_workers` workers of the current configuration; stop old ones when those serve."""
        old = {pid: worker for pid, worker in self.WORKERS.items() if worker.age <= self.retired}
        current = {pid: worker for pid, worker in self.WORKERS.items() if pid not in old}
        ready = len(current) >= self.num_workers and all(map(_serves, current.values()))
        if ready:
            self.has_served, self.failures = True, 0
            if self.page is not None:
                self.log.info("Open %s in a browser", self.page)
                self.page = None
        for pid, worker in old.items():
            if ready or not _serves(worker):
                self.kill_worker(pid, signal.SIGTERM)
        if time.monotonic() >= self.next_try:
            for _ in range(self.num_workers - len(current)):
                self.spawn_worker()
        by_age = sorted(current, key=lambda pid: current[pid].age)
        for pid in by_age[: max(0, len(current) - self.num_workers)]:
            self.kill_worker(pid, signal.SIGTERM)

    def spawn_worker(self) -> Any:
        """Fork a worker that receives every signal, even one sent before it has its handlers."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_WHILE_STARTING)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_WHILE_STARTING)


def _serves(worker: Any) -> bool:
    """Return whether a worker has started to serve, which its first heartbeat shows.

    Before that, its heartbeat file has a wall-clock time, which is far above the monotonic time.
    """
    return bool(worker.tmp.last_update() <= time.monotonic())


class _RunsMaster(BaseApplication):  # type: ignore[misc]
    def run(self) -> None:
        """Run a Master where gunicorn's BaseApplication runs an Arbiter."""
        try:
            Master(self).run()
        except RuntimeError as error:
            sys.exit(f"\nError: {error}\n")


class Application(WSGIApplication, _RunsMaster):  # type: ignore[misc]
    """The command line of gunicorn, with a Master."""
