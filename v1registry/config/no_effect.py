"""Warnings about options without an effect, and about values that may lose data or protect nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from v1registry.config import certificates, database
from v1registry.config.contradictions import Finding
from v1registry.config.drivers import ALTERNATE, STORAGE
from v1registry.config.schema import Config

_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run")
_LOCAL = ("local", "file")


def warnings(config: Config, written: Mapping[str, Any]) -> Iterator[Finding]:
    """Iterate over keys and warnings. `written` has the values of the flavor as in the file."""
    yield from _access(config, written)
    yield from certificates.unreadable(config)
    if written.get("search_backend") not in (None, "", True, False, "sqlalchemy"):
        yield "search_backend", "names an unknown search: the built-in search is used"
    yield from _storage(config)
    yield from _databases(config)
    for key, section in (("cache", config.cache), ("cache_lru", config.cache_lru)):
        if section.redis not in (None, config.redis):
            yield key, f"has no effect: {config.redis_key} already names the one shared cache"


def _access(config: Config, written: Mapping[str, Any]) -> Iterator[Finding]:
    if config.standalone:
        for key in ("index_endpoint", "index_keys"):
            if getattr(config, key):
                yield key, "has no effect: a standalone registry uses no index"
        if written.get("disable_token_auth") not in (None, False):
            yield "disable_token_auth", "has no effect: a standalone registry checks no token"
    elif config.disable_token_auth:
        yield (
            "disable_token_auth",
            "no token is checked: every client that reaches the port may do everything",
        )
    url = config.ldap.url or ""
    near = re.match(r"ldap://(localhost|127\.|\[::1\])", url)
    if url.startswith("ldap:") and not near and not config.ldap.start_tls:
        yield "ldap.url", "passwords are sent unencrypted: use ldaps:// or start_tls"


def _storage(config: Config) -> Iterator[Finding]:
    storage = config.storage
    driver = storage.get(STORAGE.key)
    delivery = ("storage_redirect", "nginx_x_accel_store")
    for key in delivery:
        if getattr(config, key) and driver in _LOCAL:
            yield key, "has no effect on local files; nginx_x_accel_redirect lets nginx send them"
        elif getattr(config, key) and driver == "glance":
            yield key, "has no effect: Glance has no URLs for clients"
    if storage.get("cloudfront.base") and not any(getattr(config, key) for key in delivery):
        yield "cloudfront", "has no effect without storage_redirect: true"
    if driver == "memory":
        yield (
            STORAGE.key,
            "`memory`: every process has a separate store, which is lost when the process ends",
        )
    if storage.get(ALTERNATE, driver) in _LOCAL and is_temporary(storage["storage_path"] or ""):
        text = "is in a temporary folder: images may be lost at the next restart"
        yield "storage_path", f"{storage['storage_path']} {text}"


def _databases(config: Config) -> Iterator[Finding]:
    own, old = config.index.database, config.sqlalchemy_index_database
    if own is not None:
        file = database.file_of(own)
        if file is not None and is_temporary(file):
            text = f"{file} is in a temporary folder: accounts may be lost at the next restart"
            yield "index.database", text
    elif old not in (None, database.OLD_DEFAULT) and (reason := database.unusable(old)):
        text = f"{reason}; until then the search reads the names from the store"
        yield "sqlalchemy_index_database", text


def is_temporary(path: str) -> bool:
    """Return whether a path is below a folder whose files the system deletes."""
    real = os.path.realpath(path)
    roots = {root for name in _TEMPORARY for root in (name, os.path.realpath(name))}
    return any(real == root or real.startswith(f"{root}/") for root in roots)
