"""The health of the services that a process needs, for `_status`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.storage import Storage
from v1registry.storage.errors import StorageError

_REPEAT = 60.0  # seconds between two log lines about a service that fails for the same reason
_MIN_PAUSE = 1.0  # seconds between any two: every client may ask as often as it likes

_log = logging.getLogger(__name__)


class Service(Protocol):
    """A service that the registry needs and that may fail."""

    @property
    def name(self) -> str: ...

    def check(self) -> str | None:
        """Return why the service cannot be used now, None if it can.

        The reason is only for the log: it may contain hosts, paths and URLs, which clients must not see.
        """


class Health:
    """Checks the services. The answer names those that fail; the log has the reasons.

    Concurrent requests share one check, because a check writes to the store.
    """

    def __init__(self, services: Iterable[Service]) -> None:
        self._services = tuple(services)
        self._logged: dict[str, tuple[str, float]] = {}  # reason and time of a service's last line
        self._checks: SingleFlightCache[list[str]] = SingleFlightCache(0)

    @property
    def names(self) -> list[str]:
        return [service.name for service in self._services]

    def failing(self) -> list[str]:
        """Return the names of the services that cannot be used now."""
        return self._checks.get("", self._check)

    def _check(self) -> list[str]:
        failing = []
        for service in self._services:
            reason = service.check()
            if reason is not None:
                failing.append(service.name)
            self._log(service.name, reason)
        return failing

    def _log(self, name: str, reason: str | None) -> None:
        if reason is None:
            if self._logged.pop(name, None) is not None:
                _log.warning("The service %s can be used again", name)
            return
        now = time.monotonic()
        before, since = self._logged.get(name, ("", float("-inf")))
        if now - since >= (_REPEAT if reason == before else _MIN_PAUSE):
            self._logged[name] = reason, now
            _log.warning("The service %s cannot be used: %s", name, reason)


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """The store as a service."""

    storage: Storage
    name: str = "storage"

    def check(self) -> str | None:
        """Implement `Service`."""
        try:
            self.storage.check()
        except StorageError as error:
            return str(error)
        return None
