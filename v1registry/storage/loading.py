"""From a driver's name in the configuration to the driver.

A driver is a module with a function `make(options, offload)`, imported when it is chosen: only
then must its library be there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from v1registry.storage import Storage
from v1registry.storage.errors import Refused


class _Driver(NamedTuple):
    module: str
    extra: str | None = None  # what installs its library: requirements-EXTRA.txt


_DRIVERS = {
    "local": _Driver("v1registry.storage.file"),
    "file": _Driver("v1registry.storage.file"),
    "memory": _Driver("v1registry.storage.memory"),
    "s3": _Driver("v1registry.storage.s3", "s3"),
}


def load(options: Mapping[str, Any], offload: Callable[..., Any]) -> Storage:
    """Make the store that the configuration names.

    `options` is the checked `storage` part of the configuration: `storage` (the
    driver's name) and the driver's own keys. `offload(function, *args)` runs
    what waits for the disk where it does not stop other clients.
    Raise `Refused` if the driver's own library is not installed.
    """
    name = options["storage"]
    if name not in _DRIVERS:
        raise ValueError(f"no storage driver is called {name!r}")
    driver = _DRIVERS[name]
    try:
        store: Storage = importlib.import_module(driver.module).make(options, offload)
    except ModuleNotFoundError as error:
        if driver.extra is None:
            raise
        raise Refused(
            f"storage: {name} needs {error.name}, which is not installed:"
            f" pip install -r requirements-{driver.extra}.txt (the extra v1registry[{driver.extra}])"
        ) from error
    return store
