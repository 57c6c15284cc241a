"""The configured store: which one it is, and the marker that proves it is mounted."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Mapping
from typing import Any

from v1registry.config import Config
from v1registry.storage import loading, marker

_LOCAL = ("local", "file")


def opened(
    config: Config, offload: Callable[..., Any], memory: marker.Memory | None = None
) -> marker.MarkedStorage:
    """Return the store that the configuration names; its `prepare` must be called first.

    Raise StorageError if its driver cannot be made. See `MarkedStorage` for `memory`.
    """
    return marker.MarkedStorage(
        loading.load(config.storage, offload),
        place=place(config.storage),
        read_only=config.read_only,
        pinned=config.store_id,
        memory=memory,
    )


def described(options: Mapping[str, Any]) -> str:
    """Return which store this is, for people: no secrets."""
    folder = root(options)
    if folder is not None and options["storage"] in _LOCAL:
        return folder
    parts = [f"{name} {value}" for name, value in _roots(options) if value]
    return f"{options['storage']}, {', '.join(parts)}" if parts else str(options["storage"])


def root(options: Mapping[str, Any]) -> str | None:
    """Return the folder in which the store keeps local files; None if it keeps none."""
    if options["storage"] in _LOCAL or options.get("storage_alternate") in _LOCAL:
        return os.path.abspath(str(options["storage_path"]))
    return None


def place(options: Mapping[str, Any]) -> str:
    """Driver and root of a store, in one form, no secrets."""
    driver = "local" if options["storage"] in _LOCAL else options["storage"]
    return f"{driver} {_roots(options)}"


def _roots(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    is_local = options["storage"] in _LOCAL
    return sorted(
        (name, os.path.abspath(str(value)) if is_local else str(value))
        for name, value in options.items()
        if name.endswith(("path", "bucket", "container"))
    )
