"""Imports the modules that a configuration needs, before the master forks its workers.

An import creates no state: each worker builds its own application.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator

from v1registry.config import Config
from v1registry.storage import loading


def import_for(config: Config) -> None:
    """Import the modules that the application uses with `config`, and no others.

    Modules that are not installed are skipped: the worker reports them with a clear message.
    """
    for name in _needed(config):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _needed(config: Config) -> Iterator[str]:
    yield "v1registry.app"
    if not config.index.alone and (driver := loading.module_of(config.storage["storage"])):
        yield driver
    if config.redis is not None:
        yield "v1registry.cache.redis"
    if config.checks_access:
        yield from _access(config)
    if config.database is not None:
        yield "v1registry.wiring.index"
        yield "cryptography.hazmat.primitives.asymmetric.ed25519"  # signs tokens
        if config.database.startswith("sqlite"):
            yield "sqlalchemy.dialects.sqlite.pysqlite"
        else:
            yield from ("sqlalchemy.dialects.postgresql.psycopg", "psycopg")


def _access(config: Config) -> Iterator[str]:
    if not config.standalone and not config.is_index:
        yield from ("v1registry.auth.external_index", "v1registry.auth.external_index_client")
        return
    yield "v1registry.auth.accounts"
    if config.accounts.htpasswd is not None or config.is_index:
        yield from ("v1registry.auth.htpasswd", "bcrypt")
    if config.ldap.url is not None:
        yield "v1registry.auth.ldap"
