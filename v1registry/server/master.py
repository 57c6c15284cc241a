"""gunicorn's master process, repaired where a registry with long transfers would suffer.

gunicorn 27's master, on SIGHUP, waits for its old workers and does nothing else: with a graceful
time of an hour and one slow download it ignores SIGTERM, replaces no crashed worker and takes no
second SIGHUP for that hour. It also loses a SIGTERM that it sends to a worker still starting, then
waits as long for it. A broken configuration ends it on reload; and so does, at any time, one worker
that cannot start, with all others that serve: a store that is away for a second would be enough.
There is no setting for another master class, so `on_starting` makes the running one ours.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.errors import HaltServer  # type: ignore[import-untyped]
from gunicorn.sock import ssl_context  # type: ignore[import-untyped]

from v1registry.server.settings import raise_open_files

HELD_WHILE_STARTING = frozenset((signal.SIGTERM, signal.SIGQUIT, signal.SIGINT))
"""Blocked from before the fork until the worker has its own handlers; see Worker.init_signals."""

_LONGEST_PAUSE = 30.0  # seconds between tries to start a worker that cannot


def on_starting(server: Any) -> None:
    """gunicorn's hook: `server` becomes a Master, with enough open files."""
    server.__class__ = Master
    server.retired = 0
    server.reloading = False
    server.has_served = False
    server.failures = 0
    server.next_try = 0.0
    server.stopped = set()
    raise_open_files(server)


class _Reloaded(Exception):
    """Ends gunicorn's reload where it begins to wait."""


class Master(Arbiter):  # type: ignore[misc]
    """Workers up to the age `retired` belong to an earlier configuration.

    They serve until those of the current one can, and then finish what they have begun. A worker
    that cannot start ends the master only if none ever could; later it is tried again and again.
    `stopped` holds the workers that were told to end.
    """

    retired: int
    reloading: bool
    has_served: bool
    failures: int
    next_try: float
    stopped: set[int]

    def reload(self) -> None:
        """SIGHUP: new workers take over, old ones finish while the master goes on as ever.

        With a configuration that cannot be used everything stays as it is.
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
                raise  # a worker, forked in there, has come to its end
            self.app.cfg, self.retired = before
            self.log.error("Not reloaded, the old configuration stays: %s", end.code)
        finally:
            self.reloading = False

    def setup(self, app: Any) -> None:
        """Take `app`'s configuration, but for its addresses: theirs are taken once, at the start.

        The old workers still listen on them, so nobody could listen there anew. Raise SystemExit if
        no worker could load the certificate.
        """
        if app.cfg.address != self.cfg.address:
            self.log.warning("Addresses change with a restart only, not with a reload")
            app.cfg.set("bind", self.cfg.bind)
        if app.cfg.is_ssl:
            try:
                ssl_context(app.cfg)  # gunicorn's own options may name files, too
            except OSError as error:  # SSLError is one
                sys.exit(f"the certificate and key cannot be loaded: {error}")
        super().setup(app)

    def reap_workers(self) -> None:
        """Take note of ended workers; one that could not start is tried again later."""
        if self.reloading:
            raise _Reloaded
        before = None
        while before != (before := dict(self.WORKERS)):
            served = {pid for pid, worker in before.items() if _serves(worker)}
            self.has_served = self.has_served or bool(served)
            try:
                super().reap_workers()
            except HaltServer:
                if not self.has_served and self.LISTENERS:  # none is left when we stop
                    raise
                for pid in before.keys() - self.WORKERS.keys():
                    before[pid].tmp.close()  # where gunicorn left off
            # Whatever its exit status was: gunicorn knows only two as boot errors. After any other it
            # would replace the worker at once, without a pause, for ever.
            if before.keys() - self.WORKERS.keys() - served - self.stopped and self.LISTENERS:
                if not self.has_served:
                    raise HaltServer("No worker could start, see above", self.WORKER_BOOT_ERROR)
                self._try_later()
            self.stopped &= self.WORKERS.keys()

    def kill_worker(self, pid: int, sig: int) -> None:
        """Note which workers end because they were told to."""
        self.stopped.add(pid)
        super().kill_worker(pid, sig)

    def _try_later(self) -> None:
        if time.monotonic() < self.next_try:
            return  # said already, of another worker of this try
        pause = min(_LONGEST_PAUSE, 2.0**self.failures)
        self.failures += 1
        self.next_try = time.monotonic() + pause
        serving = sum(map(_serves, self.WORKERS.values()))
        self.log.error(
            "A worker cannot start, for the reason above; %d others serve on, next try in %.0f s",
            serving,
            pause,
        )

    def manage_workers(self) -> None:
        """Keep `num_workers` of the current configuration; when they serve, old ones may go."""
        old = {pid: worker for pid, worker in self.WORKERS.items() if worker.age <= self.retired}
        current = {pid: worker for pid, worker in self.WORKERS.items() if pid not in old}
        ready = len(current) >= self.num_workers and all(map(_serves, current.values()))
        if ready:
            self.has_served, self.failures = True, 0
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
        """Fork a worker that gets every signal, also those sent before it can handle them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_WHILE_STARTING)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_WHILE_STARTING)


def _serves(worker: Any) -> bool:
    """Whether a worker has come so far as to serve: it has then given its first sign of life.

    Until then its file has the time of the wall clock, which is far beyond the monotonic one.
    """
    return bool(worker.tmp.last_update() <= time.monotonic())
