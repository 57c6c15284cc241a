"""Options for the caches: one in each process, and a Redis that nodes share."""

from __future__ import annotations

from v1registry.config import redis
from v1registry.config.options import Option


def _section(key: str, variable: str, of: str) -> tuple[Option, ...]:
    """Return the options of a section that names a Redis, as docker-registry 0.x had it."""
    return (
        Option(
            f"{key}.host",
            "text",
            of,
            variable=f"{variable}_HOST",
        ),
        Option(
            f"{key}.port",
            "number",
            "The port of that Redis.",
            redis.PORT,
            f"{variable}_PORT",
            at_least=1,
        ),
        Option(f"{key}.db", "number", "The number of its database.", 0, f"{variable}_DB"),
        Option(f"{key}.password", "text", "Its password.", None, f"{variable}_PASSWORD", True),
    )


OPTIONS: tuple[Option, ...] = (
    Option(
        "cache_memory",
        "size",
        "The size of each process's cache for complete images (JSON, ancestry, checksums). A"
        " second cache, for the v2 view, takes up to three quarters of this size more. 0: no"
        " caches.",
        default="4MiB",
        variable="CACHE_MEMORY",
    ),
    Option(
        "cache_life",
        "duration",
        "How long a process keeps a value in these caches.",
        default="1h",
        variable="CACHE_LIFE",
    ),
    *_section(
        "cache",
        "CACHE_REDIS",
        "The host of a Redis that all nodes use as a shared cache. Default: no Redis.",
    ),
    *_section(
        "cache_lru",
        "CACHE_LRU_REDIS",
        "The host of that Redis in the other section of docker-registry 0.x. Used if `cache.host` is"
        " not set.",
    ),
    Option(
        "cache_url",
        "Redis URL",
        "The URL of the shared Redis: `redis://`, `rediss://` (TLS) or `unix://`. It takes"
        " precedence over `cache` and `cache_lru`. `cache.password` is used if the URL has no"
        " password.",
        variable="CACHE_URL",
        secret=True,
    ),
    Option(
        "cache_ca",
        "path",
        "A PEM file with the certificate authority (CA) of Redis's certificate, for `rediss://`."
        " Default: the CAs of the system.",
        variable="CACHE_CA",
    ),
    Option(
        "cache_prefix",
        "prefix",
        "The prefix of all our keys in Redis. Default: `v1registry:` and a name that"
        " distinguishes this store from others.",
        variable="CACHE_PREFIX",
    ),
    Option(
        "cache_shared_life",
        "duration",
        "How long Redis keeps a value.",
        default="1h",
        variable="CACHE_SHARED_LIFE",
        at_least=1,
    ),
    Option(
        "cache_shared_limit",
        "size",
        "The largest value (JSON and ancestry of one image) that is kept in Redis.",
        default="256KiB",
        variable="CACHE_SHARED_LIMIT",
        at_least=1024,
    ),
)
