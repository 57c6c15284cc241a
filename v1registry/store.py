"""The configured store, with the marker that proves it is mounted."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Mapping
from typing import Any

from v1registry.config import Config
from v1registry.storage import loading, marker


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


def place(options: Mapping[str, Any]) -> str:
    """Driver and root of a store, in one form, no secrets."""
    driver = {"file": "local"}.get(options["storage"], options["storage"])
    roots = {
        name: os.path.abspath(str(value)) if driver == "local" else str(value)
        for name, value in options.items()
        if name.endswith(("path", "bucket", "container"))
    }
    return f"{driver} {sorted(roots.items())}"
