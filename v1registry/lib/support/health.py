"""What a process needs to work, looked at for `_status`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from v1registry.lib.support.single_flight import SingleFlightCache
from v1registry.storage import Storage
from v1registry.storage.errors import StorageError

_SILENCE = 60.0  # seconds between two lines about a service that fails for the same reason
_LEAST = 1.0  # and between any two: every client may ask as often as it likes

_log = logging.getLogger(__name__)


class Service(Protocol):
    """Something that we need, and that may fail."""

    @property
    def name(self) -> str: ...

    def check(self) -> str | None:
        """Why it cannot be used now, for the log; None if it can.

        The reason may name hosts, paths and URLs, so no client gets to read it.
        """


class Health:
    """Looks at the services. Clients hear which of them fail, and the log why.

    Requests that come during a look wait for its result: a look writes to the store.
    """

    def __init__(self, services: Iterable[Service]) -> None:
        self._services = tuple(services)
        self._logged: dict[str, tuple[str, float]] = {}  # reason and time of a service's last line
        self._looks: SingleFlightCache[list[str]] = SingleFlightCache(0)

    @property
    def names(self) -> list[str]:
        return [service.name for service in self._services]

    def failing(self) -> list[str]:
        """The names of services that cannot be used now."""
        return self._looks.get("", self._look, lambda _: False)

    def _look(self) -> list[str]:
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
        if now - since >= (_SILENCE if reason == before else _LEAST):
            self._logged[name] = reason, now
            _log.warning("The service %s cannot be used: %s", name, reason)


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """The store, as a service."""

    storage: Storage
    name: str = "storage"

    def check(self) -> str | None:
        try:
            self.storage.check()
        except StorageError as error:
            return str(error)
        return None
