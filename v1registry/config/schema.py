"""The class `Config` of a checked flavor.

The table of options (package `tables`) defines the checks and the tables in docs/configuration.md.
Tests compare config.yml with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from v1registry.config import index as own_index
from v1registry.config import redis
from v1registry.config.access import AccountOptions, Ldap, Rule
from v1registry.config.index import IndexOptions
from v1registry.config.redis import Redis, Section


@dataclass(frozen=True, slots=True)
class Limits:
    """The options of the group `limits`, in bytes, seconds and numbers."""

    json: int
    layer: int
    body_seconds: int
    upload_seconds: int
    files_bytes: int
    files_entries: int


@dataclass(frozen=True, slots=True)
class Tls:
    """The options of the group `tls`: paths of PEM files, both or none."""

    certificate: str | None
    key: str | None


@dataclass(frozen=True, slots=True)
class V2:
    """The options of the group `v2`."""

    enabled: bool
    hidden_from: tuple[str, ...]
    hosts: tuple[str, ...]
    port: int
    read_pushed: int


@dataclass(frozen=True, slots=True)
class Config:
    """A checked flavor. Sizes in bytes, times in seconds.

    `storage` has the driver's options and, under the key `storage`, the configured name of the driver
    (`local` and `file` are one driver). `warnings` are texts for the log at start.
    """

    file: str
    flavor: str
    warnings: tuple[str, ...]
    storage: Mapping[str, Any]
    loglevel: str
    log_format: str
    debug: bool
    issue: str | None
    standalone: bool
    disable_token_auth: bool
    index_endpoint: str | None
    index_ca: str | None
    index_timeout: int
    index_remember: int
    clock_skew: int
    index_keys: tuple[str, ...]
    accounts: AccountOptions
    access: tuple[Rule, ...] | None
    ldap: Ldap
    storage_redirect: bool
    verify_layers: bool
    nginx_x_accel_store: str | None
    read_only: bool
    store_id: str | None
    registry_endpoints: str | None
    search_backend: bool
    sqlalchemy_index_database: str | None = field(repr=False)
    index: IndexOptions
    limits: Limits
    v2: V2
    cache_memory: int
    cache_life: int
    cache: Section
    cache_lru: Section
    cache_url: str | None = field(repr=False)
    cache_ca: str | None
    cache_prefix: str | None
    cache_shared_life: int
    cache_shared_limit: int
    uploads_life: int
    clean_interval: int
    trusted_proxies: tuple[str, ...]
    tls: Tls
    extensions: Mapping[str, Any]

    @property
    def has_users(self) -> bool:
        """Whether the registry itself can identify users."""
        return bool(self.accounts.htpasswd or self.accounts.user_header or self.ldap.url)

    @property
    def checks_access(self) -> bool:
        """Whether some access is not allowed to every client."""
        if self.standalone:
            return self.has_users or self.access is not None or self.is_index
        return not self.disable_token_auth

    @property
    def database(self) -> str | None:
        """The database of the index or of the search, or None."""
        if self.index.database is not None:
            return self.index.database
        url = self.sqlalchemy_index_database
        if url is None or not self.search_backend or own_index.unusable(url) is not None:
            return None
        return None if url == own_index.OLD_DEFAULT else url

    @property
    def is_index(self) -> bool:
        """Whether this process is an index."""
        return self.index.database is not None and (self.standalone or self.index.alone)

    @property
    def writes_to_index(self) -> bool:
        """Whether this process writes to the database of an index of our own."""
        return self.index.database is not None

    @property
    def redis(self) -> Redis | None:
        """The Redis of the shared cache, or None."""
        return redis.chosen(self.cache_url, self.cache_ca, self.cache, self.cache_lru)


#: The class of each group of options.
GROUPS: Mapping[str, Any] = {
    "index": IndexOptions,
    "limits": Limits,
    "accounts": AccountOptions,
    "ldap": Ldap,
    "v2": V2,
    "cache": Section,
    "cache_lru": Section,
    "tls": Tls,
}
