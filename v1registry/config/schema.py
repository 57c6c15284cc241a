"""The class `Config` of a checked flavor.

Its tables (package `tables`) define the checks and the tables in docs/configuration.md. Tests
compare config.yml with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from v1registry.config import database
from v1registry.config.option import Option, group, options_of, table
from v1registry.config.redis import Redis, parse
from v1registry.config.tables.access import AccessOptions
from v1registry.config.tables.cache import CacheOptions
from v1registry.config.tables.general import GeneralOptions
from v1registry.config.tables.index import IndexOptions
from v1registry.config.tables.limits import LimitOptions
from v1registry.config.tables.policies import PolicyOptions
from v1registry.config.tables.server import ServerOptions
from v1registry.config.tables.v2 import V2Options
from v1registry.config.tables.web import WebOptions


# The fields of the last base come first.
@table
class Config(ServerOptions, CacheOptions, PolicyOptions, AccessOptions, GeneralOptions):
    """A checked flavor. Sizes in bytes, times in seconds.

    `storage` has the driver's options and, under the key `storage`, the configured name of the driver
    (`local` and `file` are one driver). `warnings` are texts for the log at start.
    """

    file: str
    flavor: str
    warnings: tuple[str, ...]
    storage: Mapping[str, Any]
    index: IndexOptions = group(IndexOptions)
    limits: LimitOptions = group(LimitOptions)
    v2: V2Options = group(V2Options)
    web: WebOptions = group(WebOptions)

    @property
    def has_users(self) -> bool:
        """Whether the registry itself can identify users."""
        return bool(self.accounts.htpasswd or self.accounts.user_header or self.ldap.url)

    @property
    def has_accounts(self) -> bool:
        """Whether the registry has accounts or access rules of its own."""
        return self.has_users or self.access is not None

    @property
    def checks_access(self) -> bool:
        """Whether some access is not allowed to every client."""
        if self.standalone:
            return self.has_accounts or self.is_index
        return not self.disable_token_auth

    @property
    def database(self) -> str | None:
        """The database of the index or of the search, or None."""
        if self.index.database is not None:
            return self.index.database
        url = self.sqlalchemy_index_database
        if url is None or not self.search_backend or database.unusable(url) is not None:
            return None
        return None if url == database.OLD_DEFAULT else url

    @property
    def is_index(self) -> bool:
        """Whether this process is an index."""
        return self.index.database is not None and (self.standalone or self.index.alone)

    @property
    def writes_to_index(self) -> bool:
        """Whether this process writes to the database of an index of our own."""
        return self.index.database is not None

    @property
    def redis_key(self) -> str:
        """The option that names the Redis: `cache_url` before `cache` before `cache_lru`."""
        if self.cache_url:
            return "cache_url"
        return "cache" if self.cache.host else "cache_lru"

    @property
    def redis(self) -> Redis | None:
        """The Redis of the shared cache, or None."""
        if self.cache_url:
            return parse(self.cache_url, self.cache.password, self.cache_ca)
        return self.cache.redis or self.cache_lru.redis


#: All options except those of storage drivers.
OPTIONS: tuple[Option, ...] = tuple(options_of(Config))
