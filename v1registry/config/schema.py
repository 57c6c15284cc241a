"""The table of options, and the `Config` that comes of it.

From this table derive the checks, the documentation (docs/configuration.md) and the tests that
hold config.yml to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from v1registry.config import redis
from v1registry.config.options import Option
from v1registry.config.redis import Redis, Section

LEVELS = ("debug", "info", "warn", "warning", "error", "critical", "fatal", "notset")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may make us receive or compute. Bytes, seconds, numbers; 0 as documented."""

    json: int
    layer: int
    upload_seconds: int
    files_bytes: int
    files_entries: int


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files; both set or both None."""

    certificate: str | None
    key: str | None


@dataclass(frozen=True, slots=True)
class Config:
    """A checked flavor. Sizes in bytes, times in seconds.

    `storage` holds the driver's own options, and under `storage` the driver's name as it was
    configured (`local` and `file` are one). `warnings` are texts for the log at start.
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
    storage_redirect: bool
    read_only: bool
    registry_endpoints: str | None
    search_backend: bool
    limits: Limits
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
    def redis(self) -> Redis | None:
        """The Redis that nodes share as a cache, or None."""
        return redis.chosen(self.cache_url, self.cache_ca, self.cache, self.cache_lru)


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


#: Groups of options, and the class that holds each.
GROUPS: Mapping[str, Any] = {
    "limits": Limits,
    "cache": Section,
    "cache_lru": Section,
    "tls": Tls,
}

OPTIONS: tuple[Option, ...] = (
    Option(
        "loglevel",
        "choice",
        "The least severe messages that are logged. The flavor `dev` says `debug`.",
        default="info",
        variable="LOGLEVEL",
        choices=LEVELS,
    ),
    Option(
        "log_format",
        "choice",
        "Access log and messages as text, or as one JSON object a line.",
        default="plain",
        variable="LOG_FORMAT",
        choices=("plain", "json"),
    ),
    Option(
        "debug",
        "boolean",
        "Accepted as in 0.x, but `_ping` tells versions, host or arguments to nobody, with it"
        " neither.",
        default=False,
        variable="DEBUG",
    ),
    Option(
        "issue",
        "text",
        "What `GET /` answers, as a JSON string.",
        default='"docker-registry server"',
    ),
    Option(
        "standalone",
        "literal",
        "Must be `true`: the registry stands alone and asks no index who may do what. `false`, or"
        " nothing, stops the start: what was meant to be checked is never served openly.",
        default=True,
        variable="STANDALONE",
        required=True,
    ),
    Option(
        "disable_token_auth",
        "literal",
        "Do not check tokens though there is an index. No effect in standalone mode; only a"
        " literal `true` counts.",
        default=False,
        variable="DISABLE_TOKEN_AUTH",
    ),
    Option(
        "storage_redirect",
        "boolean",
        "Send clients to the store itself for layers, where the driver can make URLs. Local files"
        " cannot.",
        default=False,
        variable="STORAGE_REDIRECT",
    ),
    Option(
        "read_only",
        "boolean",
        "Serve, and refuse every change with 503: for a copy, a read-only mount, or a second"
        " registry on a store that another one writes.",
        default=False,
        variable="READ_ONLY",
    ),
    Option(
        "registry_endpoints",
        "endpoints",
        "Hosts that `X-Docker-Endpoints` tells clients to use: a text with commas, or a list."
        " Default: the host that the client asked.",
        variable="REGISTRY_ENDPOINTS",
    ),
    Option(
        "search_backend",
        "search",
        "`sqlalchemy` or `true` switches `/v1/search` on: the built-in search over the names in"
        " the store. The flavors `local` and `dev` do.",
        default=False,
        variable="SEARCH_BACKEND",
    ),
    Option(
        "limits.json",
        "size",
        "The largest body that is not a layer: image JSON, image list, tag.",
        default="4MiB",
        variable="LIMITS_JSON",
        at_least=1024,
    ),
    Option(
        "limits.layer",
        "size",
        "The largest layer; 0: no limit.",
        default=0,
        variable="LIMITS_LAYER",
    ),
    Option(
        "limits.upload_seconds",
        "duration",
        "The whole time that sending one layer may take; 0: no limit. Looked at when a piece"
        " is complete, or every 10 seconds.",
        default="1d",
        variable="LIMITS_UPLOAD_SECONDS",
    ),
    Option(
        "limits.files_bytes",
        "size",
        "How much of a layer is decompressed at most for `files` and `diff`, and for the TarSum"
        " of engines before 0.10.",
        default="8GiB",
        variable="LIMITS_FILES_BYTES",
        at_least=1,
    ),
    Option(
        "limits.files_entries",
        "number",
        "How many entries of a layer are listed at most in `files` and `diff`.",
        default=200000,
        variable="LIMITS_FILES_ENTRIES",
        at_least=1,
    ),
    Option(
        "cache_memory",
        "size",
        "What each process keeps in memory of finished images (JSON, ancestry, checksums); 0:"
        " nothing.",
        default="16MiB",
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
    Option(
        "uploads_life",
        "duration",
        "Abandoned uploads are removed when untouched for so long; checksums of received copies"
        " are kept so long.",
        default="1d",
        variable="UPLOADS_LIFE",
        at_least=1,
    ),
    Option(
        "clean_interval",
        "duration",
        "How often abandoned uploads are looked for; 0: only by the command `clean`.",
        default="1h",
        variable="CLEAN_INTERVAL",
    ),
    Option(
        "trusted_proxies",
        "networks",
        "Addresses and networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are"
        " believed: a list, or a text with commas.",
        default=["127.0.0.1", "::1"],
        variable="TRUSTED_PROXIES",
    ),
    Option(
        "tls.certificate",
        "path",
        "A PEM file with the certificate and its chain: serve https. Needs `tls.key`.",
        variable="TLS_CERTIFICATE",
    ),
    Option(
        "tls.key",
        "path",
        "The PEM file with the certificate's private key.",
        variable="TLS_KEY",
    ),
    Option(
        "extensions",
        "mapping",
        "Settings of extensions, in whatever form they want.",
        default={},
    ),
)
