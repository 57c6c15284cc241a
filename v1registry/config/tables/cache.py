"""Options for the caches: one in each process, and a Redis that nodes share."""

from __future__ import annotations

from v1registry.config.option import group, option, table
from v1registry.config.redis import Redis


@table
class RedisOptions:
    """The group `cache` or `cache_lru`, as docker-registry 0.x had them. No `host`: no Redis."""

    host: str | None = option("text")
    """The host of a Redis that all nodes use as a shared cache. Default: no Redis. `cache_lru` is
    used if `cache.host` is not set."""

    port: int = option("number", 6379, at_least=1)
    """The port of that Redis."""

    db: int = option("number", 0)
    """The number of its database."""

    password: str | None = option("text", secret=True)
    """Its password."""

    @property
    def redis(self) -> Redis | None:
        """The Redis of this section, or None."""
        return Redis(self.host, self.port, self.db, self.password) if self.host else None


@table
class CacheOptions:
    """Options for the caches."""

    cache_memory: int = option("size", "4MiB")
    """The size of each process's cache for complete images (JSON, ancestry, checksums). A second
    cache, for the v2 view, takes up to three quarters of this size more. 0: no caches."""

    cache_life: int = option("duration", "1h")
    """How long a process keeps a value in these caches."""

    cache: RedisOptions = group(RedisOptions, variables="CACHE_REDIS")
    cache_lru: RedisOptions = group(RedisOptions, variables="CACHE_LRU_REDIS")

    cache_url: str | None = option("Redis URL", secret=True)
    """The URL of the shared Redis: `redis://`, `rediss://` (TLS) or `unix://`. It takes precedence
    over `cache` and `cache_lru`. `cache.password` is used if the URL has no password."""

    cache_ca: str | None = option("path")
    """A PEM file with the certificate authority (CA) of Redis's certificate, for `rediss://`.
    Default: the CAs of the system."""

    cache_prefix: str | None = option("prefix")
    """The prefix of all our keys in Redis. Default: `v1registry:` and a name that distinguishes
    this store from others."""

    cache_shared_life: int = option("duration", "1h", at_least=1)
    """How long Redis keeps a value."""

    cache_shared_limit: int = option("size", "256KiB", at_least=1024)
    """The largest value (JSON and ancestry of one image) that is kept in Redis."""
