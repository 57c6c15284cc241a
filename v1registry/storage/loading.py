"""From a driver's name in the configuration to the driver.

A driver is a module with a function `make(options, offload)`, imported when it is chosen: only
then must its library be there. Other packages may bring more of them, see `plugins`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from v1registry.storage import Storage, plugins
from v1registry.storage.errors import Refused, StorageError, installing


class _Driver(NamedTuple):
    module: str
    extra: str | None = None  # what installs its library: requirements-EXTRA.txt


_DRIVERS = {
    "local": _Driver("v1registry.storage.local.driver"),
    "file": _Driver("v1registry.storage.local.driver"),
    "memory": _Driver("v1registry.storage.memory"),
    "s3": _Driver("v1registry.storage.s3.driver", "s3"),
    "swift": _Driver("v1registry.storage.swift.driver", "swift"),
    "gcs": _Driver("v1registry.storage.gcs.driver", "gcs"),
    "glance": _Driver("v1registry.storage.glance.driver", "glance"),
}


def module_of(name: str) -> str | None:
    """The module of a driver of ours; None for another package's, which is imported when it is
    used: nobody knows what it does then."""
    return _DRIVERS[name].module if name in _DRIVERS else None


def load(options: Mapping[str, Any], offload: Callable[..., Any]) -> Storage:
    """Make the store that the configuration names.

    `options` is the checked `storage` part of the configuration: `storage` (the
    driver's name) and the driver's own keys. `offload(function, *args)` runs
    what waits for the disk where it does not stop other clients.
    Raise `Refused` if the driver's own library is not installed, or another package's driver
    cannot be made.
    """
    name = options["storage"]
    if name in _DRIVERS:
        return _ours(name, options, offload)
    if plugin := plugins.found().get(name):
        return _theirs(plugin, options, offload)
    raise ValueError(f"no storage driver is called {name!r}")


def _ours(name: str, options: Mapping[str, Any], offload: Callable[..., Any]) -> Storage:
    driver = _DRIVERS[name]
    try:
        store: Storage = importlib.import_module(driver.module).make(options, offload)
    except ModuleNotFoundError as error:
        if driver.extra is None:
            raise
        raise Refused(
            f"storage: {name} needs {error.name}, which is not installed:"
            f" {installing(driver.extra)}"
        ) from error
    return store


def _theirs(
    plugin: plugins.Plugin, options: Mapping[str, Any], offload: Callable[..., Any]
) -> Storage:
    module = plugin.load()
    try:
        store = module.make(options, offload)
    except StorageError:
        raise
    except Exception as error:  # a missing library, an option that it does not like
        raise plugin.refused(f"cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(store, Storage):
        raise plugin.refused(f"is no v1registry.storage.Storage but a {type(store).__name__}")
    return store
