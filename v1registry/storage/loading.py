"""Makes the driver that the configuration names.

A driver is a module with a function `make(options, run_in_thread)`. It is imported only if it is
chosen, so its library need not be installed otherwise. Other packages may add drivers, see `plugins`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from v1registry.storage import Storage, plugins
from v1registry.storage.errors import Refused, StorageError, installing


class _Driver(NamedTuple):
    module: str
    extra: str | None = None  # requirements-EXTRA.txt installs its library


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
    """Return the module of a built-in driver; None for a driver of another package.

    That one is imported only when it is used, because importing it may have side effects.
    """
    return _DRIVERS[name].module if name in _DRIVERS else None


def load(options: Mapping[str, Any], run_in_thread: Callable[..., Any]) -> Storage:
    """Make the store that the configuration names.

    `options` is the checked `storage` part of the configuration: `storage` (the driver's name) and
    the driver's own options. `run_in_thread(function, *args)` runs calls that wait for the disk
    without stopping other clients. Raise `Refused` if the driver's library is not installed or the
    driver of another package cannot be made.
    """
    name = options["storage"]
    if name in _DRIVERS:
        return _built_in(name, options, run_in_thread)
    if plugin := plugins.found().get(name):
        return _from_package(plugin, options, run_in_thread)
    raise ValueError(f"no storage driver is named {name!r}")


def _built_in(name: str, options: Mapping[str, Any], run_in_thread: Callable[..., Any]) -> Storage:
    driver = _DRIVERS[name]
    try:
        store: Storage = importlib.import_module(driver.module).make(options, run_in_thread)
    except ModuleNotFoundError as error:
        if driver.extra is None:
            raise
        raise Refused(
            f"storage: {name} needs {error.name}, which is not installed:"
            f" {installing(driver.extra)}"
        ) from error
    return store


def _from_package(
    plugin: plugins.Plugin, options: Mapping[str, Any], run_in_thread: Callable[..., Any]
) -> Storage:
    module = plugin.load()
    try:
        store = module.make(options, run_in_thread)
    except StorageError:
        raise
    except Exception as error:  # a missing library, or an invalid option
        raise plugin.refused(f"cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(store, Storage):
        raise plugin.refused(f"is not a v1registry.storage.Storage but a {type(store).__name__}")
    return store
