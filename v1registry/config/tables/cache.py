"""The caches: in each process, and in a Redis that nodes share."""

from __future__ import annotations

from v1registry.config import redis
from v1registry.config.options import Option


def _section(key: str, variable: str, of: str) -> tuple[Option, ...]:
    """A section of 0.x that names a Redis."""
    return (
        Option(
            f"{key}.host",
            "text",
            f"{of} Nothing: no Redis is used.",
            variable=f"{variable}_HOST",
        ),
        Option(f"{key}.port", "number", "Its port.", redis.PORT, f"{variable}_PORT", at_least=1),
        Option(f"{key}.db", "number", "Its database.", 0, f"{variable}_DB"),
        Option(f"{key}.password", "text", "Its password.", None, f"{variable}_PASSWORD", True),
    )


OPTIONS: tuple[Option, ...] = (
    Option(
        "cache_memory",
        "size",
        "What each process keeps in memory of finished images (JSON, ancestry, checksums), and three"
        " quarters of it once more of what v2 shows of them; 0: nothing.",
        default="4MiB",
        variable="CACHE_MEMORY",
    ),
    Option(
        "cache_life",
        "duration",
        "How long it keeps them.",
        default="1h",
        variable="CACHE_LIFE",
    ),
    *_section("cache", "CACHE_REDIS", "A Redis that all nodes share, as a second cache."),
    *_section(
        "cache_lru",
        "CACHE_LRU_REDIS",
        "The same, in the other section of 0.x; used where `cache` names none.",
    ),
    Option(
        "cache_url",
        "Redis URL",
        "The same as a URL, which goes before both: `redis://`, `rediss://` (TLS) or `unix://`."
        " `cache.password` counts if it holds no password.",
        variable="CACHE_URL",
        secret=True,
    ),
    Option(
        "cache_ca",
        "path",
        "A PEM file with the authority that Redis's certificate must come from, for `rediss://`."
        " Default: the system's.",
        variable="CACHE_CA",
    ),
    Option(
        "cache_prefix",
        "prefix",
        "What all our keys in Redis begin with. Default: `v1registry:` and a name that tells this"
        " store from others.",
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
