"""The application: every part built once, from a checked configuration."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from flask import Flask

from v1registry import storage
from v1registry.api import answers, images, ping, repositories, search, users
from v1registry.api.parts import Parts
from v1registry.api.paths import AnyPath
from v1registry.config import Config
from v1registry.edge.offload import offload
from v1registry.lib.cleaner import Cleaner
from v1registry.lib.commits import Commits
from v1registry.lib.imagelist import ImageLists
from v1registry.lib.images import Images
from v1registry.lib.listings import Listings
from v1registry.lib.repositories import Repositories
from v1registry.lib.search import Search
from v1registry.lib.uploads import Uploads

_HEAVY_AT_ONCE = 2  # decompressions a worker: more would keep others' fsync waiting for a thread


def create_app(config: Config) -> Flask:
    """The WSGI application. Raises what `build` raises."""
    parts = build(config)
    app = Flask("v1registry", static_folder=None)
    app.url_map.strict_slashes = False  # a redirect would end an old engine's push
    app.url_map.merge_slashes = False
    app.url_map.converters["any_path"] = AnyPath
    answers.handle_errors(app)
    for module in (ping, images, repositories, users, search):
        app.register_blueprint(module.blueprint(parts))
    if config.read_only:
        app.before_request(answers.refuse_changes)
    app.extensions["v1registry"] = parts
    return app


def build(config: Config) -> Parts:
    """Wire the domain to the configured store.

    Raises StorageError when the store cannot be used.
    """
    store = storage.load(config.storage, offload)
    if not config.read_only:
        store.prepare()
    heavy = limited(offload, _HEAVY_AT_ONCE)
    max_bytes = config.limits.files_bytes
    commits = Commits(store)
    read = Images(store, commits, cache_limit=config.cache_memory, cache_life=config.cache_life)
    return Parts(
        config=config,
        storage=store,
        images=read,
        uploads=Uploads(store, read, commits, heavy, max_bytes=max_bytes),
        listings=Listings(
            store, read, heavy, max_bytes=max_bytes, max_entries=config.limits.files_entries
        ),
        repositories=Repositories(store, read),
        image_lists=ImageLists(store),
        search=Search(store, offload),
        cleaner=Cleaner(store, commits),
    )


def limited(run: Callable[..., Any], at_once: int) -> Callable[..., Any]:
    """`run`, for at most so many calls at the same time; others wait."""
    slots = threading.BoundedSemaphore(at_once)

    @functools.wraps(run)
    def limited_run(*args: Any) -> Any:
        with slots:
            return run(*args)

    return limited_run
