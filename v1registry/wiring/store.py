"""Opening and naming the configured store."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from v1registry.config import Config
from v1registry.storage import loading, marker

if TYPE_CHECKING:
    from flask import Flask

_LOCAL = ("local", "file")


def opened(
    config: Config, run_in_thread: Callable[..., Any], memory: marker.Memory | None = None
) -> marker.MarkedStorage:
    """Return the store that the configuration names; its `prepare` must be called first.

    Raise StorageError if its driver cannot be made. See `MarkedStorage` for `memory`.
    """
    return marker.MarkedStorage(
        loading.load(config.storage, run_in_thread),
        place=place(config.storage),
        read_only=config.read_only,
        pinned=config.store_id,
        memory=memory,
    )


def use_request_tokens(app: Flask, config: Config) -> None:
    """Make the Glance driver use the token of the current request, until the request ends."""
    if config.storage["storage"] != "glance" or not config.storage["glance_request_headers"]:
        return
    from flask import request  # here: commands do not load Flask

    from v1registry.storage.glance.request_token import HEADERS, RequestTokens

    tokens = RequestTokens(config.storage)

    def begin() -> None:
        tokens.begin({name: request.headers.get(name, "") for name in HEADERS})

    def end(_error: BaseException | None) -> None:
        tokens.end()

    app.before_request(begin)
    app.teardown_request(end)


def described(options: Mapping[str, Any]) -> str:
    """Return a description of the store for messages, without secrets."""
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
    """Return driver and root of a store as one text that identifies it, without secrets."""
    driver = "local" if options["storage"] in _LOCAL else options["storage"]
    return f"{driver} {_roots(options)}"


def _roots(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    is_local = options["storage"] in _LOCAL
    return sorted(
        (name, os.path.abspath(str(value)) if is_local else str(value))
        for name, value in options.items()
        if name.endswith(("path", "bucket", "container"))
    )
