"""Warnings about options without an effect, and about values that may lose data or protect nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from v1registry.config import access, certificates, index
from v1registry.config.drivers import ALTERNATE, STORAGE
from v1registry.storage.plugins import Plugin

_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run")
_LOCAL = ("local", "file")
_NO_URLS = "has no effect: Glance has no URLs for clients"


@dataclass(frozen=True, slots=True)
class Flavor:
    """The values of a flavor: as written, the checked options, and the driver's checked options."""

    written: Mapping[str, Any]
    options: Mapping[str, Any]
    storage: Mapping[str, Any]

    def uses(self, *drivers: str) -> bool:
        """Return whether the store's driver is one of these."""
        return self.storage.get(STORAGE.key) in drivers

    def has(self, key: str) -> bool:
        """Return whether an option is set to a value other than false."""
        return bool(self.options[key])

    @property
    def redirects(self) -> bool:
        """Whether clients or nginx fetch layers from the store."""
        return self.has("storage_redirect") or self.has("nginx_x_accel_store")


#: An option, the warning about it, and whether the warning applies to a flavor.
_TABLE: tuple[tuple[str, str, Callable[[Flavor], bool]], ...] = (
    (
        "disable_token_auth",
        "has no effect: a standalone registry checks no token",
        lambda flavor: (
            flavor.has("standalone")
            and flavor.written.get("disable_token_auth") not in (None, False)
        ),
    ),
    (
        "search_backend",
        "names an unknown search: the built-in search is used",
        lambda flavor: (
            flavor.written.get("search_backend") not in (None, "", True, False, "sqlalchemy")
        ),
    ),
    (
        "storage_redirect",
        "has no effect on local files; nginx_x_accel_redirect lets nginx send them",
        lambda flavor: flavor.uses(*_LOCAL) and flavor.has("storage_redirect"),
    ),
    (
        "nginx_x_accel_store",
        "has no effect on local files; nginx_x_accel_redirect is for them",
        lambda flavor: flavor.uses(*_LOCAL) and flavor.has("nginx_x_accel_store"),
    ),
    (
        "storage_redirect",
        _NO_URLS,
        lambda flavor: flavor.uses("glance") and flavor.has("storage_redirect"),
    ),
    (
        "nginx_x_accel_store",
        _NO_URLS,
        lambda flavor: flavor.uses("glance") and flavor.has("nginx_x_accel_store"),
    ),
    (
        "cloudfront",
        "has no effect without storage_redirect: true",
        lambda flavor: bool(flavor.storage.get("cloudfront.base")) and not flavor.redirects,
    ),
    (
        "storage",
        "`memory`: every process has a separate store, which is lost when the process ends",
        lambda flavor: flavor.uses("memory"),
    ),
)


def warnings(flavor: Flavor, hidden: Iterable[Plugin] = ()) -> Iterator[tuple[str, str]]:
    """Iterate over keys and warnings. `hidden`: other packages' drivers with the names of ours."""
    yield from access.without_effect(flavor.options)
    yield from certificates.unreadable(flavor.options)
    for key, text, applies in _TABLE:
        if applies(flavor):
            yield key, text
    yield from _databases(flavor.options)
    for plugin in hidden:
        yield (
            STORAGE.key,
            f"{plugin.name!r} is our own driver; that of {plugin.package} is not used",
        )
    if flavor.storage.get(ALTERNATE, flavor.storage.get(STORAGE.key)) in _LOCAL:
        folder = flavor.storage["storage_path"] or ""
        if is_temporary(folder):
            text = f"{folder} is in a temporary folder: images may be lost at the next restart"
            yield "storage_path", text


def _databases(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    own, old = options["index.database"], options["sqlalchemy_index_database"]
    if own is not None:
        file = index.file_of(own)
        if file is not None and is_temporary(file):
            text = f"{file} is in a temporary folder: accounts may be lost at the next restart"
            yield "index.database", text
    elif old not in (None, index.OLD_DEFAULT) and (reason := index.unusable(old)):
        text = f"{reason}; until then the search reads the names from the store"
        yield "sqlalchemy_index_database", text


def is_temporary(path: str) -> bool:
    """Return whether a path is below a folder whose files the system deletes."""
    real = os.path.realpath(path)
    roots = {root for name in _TEMPORARY for root in (name, os.path.realpath(name))}
    return any(real == root or real.startswith(f"{root}/") for root in roots)
