"""Accounts in a password file with bcrypt hashes, which is read again when it changes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from v1registry.config import htpasswd
from v1registry.lib.auth import passwords

_CHECK_INTERVAL = 1.0  # seconds between two checks for a change of the file

_log = logging.getLogger(__name__)


class PasswordFile:
    """The accounts of a password file. `run_in_thread` computes hashes outside the event loop.

    While the file is not valid, for example because it is being written, the accounts of the last
    valid file remain in use, and the log has an error.
    """

    def __init__(self, path: str, run_in_thread: Callable[..., Any]) -> None:
        self._path = path
        self._run_in_thread = run_in_thread
        self._lock = threading.Lock()
        self._checked = time.monotonic()
        self._seen = self._state()
        self._read()

    def state(self, user: str) -> str:
        """Return the password hash of the account; empty without such an account."""
        self._refresh()
        return self._hashes.get(user, "")

    def groups(self, user: str, password: str, address: str) -> frozenset[str] | None:
        """Return an empty set of groups if the password is correct, else None."""
        hashed = self._hashes.get(user)
        right = self._run_in_thread(passwords.verify, password, hashed, self._most)
        return frozenset() if right else None

    def _refresh(self) -> None:
        now = time.monotonic()
        if now < self._checked + _CHECK_INTERVAL or not self._lock.acquire(blocking=False):
            return
        try:
            self._checked = now
            state = self._state()
            if state != self._seen:
                self._seen = state
                self._read()
                _log.info("Read %s again: %d accounts", self._path, len(self._hashes))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            _log.error(
                "%s is not valid, the accounts that were read before remain in use: %s",
                self._path,
                reason,
            )
        finally:
            self._lock.release()

    def _read(self) -> None:
        self._hashes = htpasswd.read(self._path)
        self._most = max(map(passwords.cost, self._hashes.values()), default=passwords.COST)
        if self._most > passwords.HIGHEST:
            _log.warning(
                "%s has a hash with bcrypt cost %d. Wrong passwords for other accounts are checked"
                " with cost %d and take less time, which discloses that this account exists. Make"
                " the hash again with a lower cost",
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
