"""A file of names and bcrypt hashes, read anew when it changes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from v1registry.config import htpasswd
from v1registry.lib.auth import passwords

_LOOK = 1.0  # seconds between two looks at the file

_log = logging.getLogger(__name__)


class PasswordFile:
    """Proves accounts. `offload` computes the hashes where they stop nobody else.

    A file that cannot be used any more, half written say, changes nothing: the last good one
    counts, and the log says so.
    """

    def __init__(self, path: str, offload: Callable[..., Any]) -> None:
        self._path = path
        self._offload = offload
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._seen = self._state()
        self._read()

    def state(self, user: str) -> str:
        """What changes when the account's password does: its hash, nothing for no account."""
        self._refresh()
        return self._hashes.get(user, "")

    def groups(self, user: str, password: str, address: str) -> frozenset[str] | None:
        """No groups for the right password of a known account; None for any other."""
        hashed = self._hashes.get(user)
        right = self._offload(passwords.verify, password, hashed, self._most)
        return frozenset() if right else None

    def _refresh(self) -> None:
        now = time.monotonic()
        if now < self._looked + _LOOK or not self._lock.acquire(blocking=False):
            return
        try:
            self._looked = now
            state = self._state()
            if state != self._seen:
                self._seen = state
                self._read()
                _log.info("Read %s anew: %d accounts", self._path, len(self._hashes))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            _log.error("%s is not used as it is now, the last one counts: %s", self._path, reason)
        finally:
            self._lock.release()

    def _read(self) -> None:
        self._hashes = htpasswd.read(self._path)
        self._most = max(map(passwords.cost, self._hashes.values()), default=passwords.COST)
        if self._most > passwords.HIGHEST:
            _log.warning(
                "%s has a hash with bcrypt cost %d: wrong passwords for other accounts take less"
                " time, as for cost %d, so a client can tell by the time that this account exists",
                self._path,
                self._most,
                passwords.HIGHEST,
            )

    def _state(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
