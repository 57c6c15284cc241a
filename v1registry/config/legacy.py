"""Keys of docker-registry 0.x that this version knows but does not use.

Keys of other storage drivers give no warning, because the sample file's `common` has them for every
flavor. Each other key gives one warning if it had an effect in docker-registry 0.x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class UnusedKey:
    """A key without an effect, and a text that says what to do instead.

    A mapping is set if one of its `triggers` is: the sample file always sets its other members.
    """

    key: str
    replaced_by: str
    triggers: tuple[str, ...] = ()

    def is_set(self, value: Any) -> bool:
        if self.triggers and isinstance(value, dict):
            return any(value.get(trigger) not in (None, "", False) for trigger in self.triggers)
        return value not in (None, "", False, {}, [])


_NO_EFFECT = "has no effect"
_MAIL = f"{_NO_EFFECT}: errors are logged, not mailed; configure alerts in your log system"
_MIRROR = f"{_NO_EFFECT}: mirroring is not supported in this version"
_NEW_RELIC = f"{_NO_EFFECT}: New Relic's agent is not started in this version; use the access log"

_DEBUG = f"{_NO_EFFECT}: `_ping` discloses no versions, hosts or arguments"
_SDK = f"{_NO_EFFECT}: gcs_credentials or the role of the machine signs in to Google"
_CORS = f"{_NO_EFFECT}: CORS headers are not sent in this version; add them in a proxy"
_SIGNATURE = f"{_NO_EFFECT}: such signatures can be replayed, so they are not accepted"
_BUGSNAG = f"{_NO_EFFECT}: errors are logged; let a log forwarder send them to Bugsnag"

UNUSED_KEYS: tuple[UnusedKey, ...] = (
    UnusedKey("privileged_key", _SIGNATURE),
    UnusedKey("mirroring", _MIRROR, ("source", "source_index")),
    UnusedKey("email_exceptions", _MAIL, ("smtp_host",)),
    UnusedKey("bugsnag", _BUGSNAG),
    UnusedKey("cors", _CORS, ("origins",)),
    UnusedKey("newrelic", _NEW_RELIC),
    UnusedKey("new_relic", _NEW_RELIC),
    # keys of docker-registry 0.6 and 0.7
    UnusedKey("secret_key", f"{_NO_EFFECT}: web.secret signs the sessions of the pages"),
    UnusedKey("source", _MIRROR),
    UnusedKey("source_index", _MIRROR),
    UnusedKey("tags_cache", _MIRROR, ("enabled",)),
    *(UnusedKey(f"smtp_{name}", _MAIL) for name in ("host", "port", "login", "password", "secure")),
    UnusedKey("from_addr", _MAIL),
    UnusedKey("to_addr", _MAIL),
    UnusedKey("debug_versions", _DEBUG),
    UnusedKey("cloud_sdk_path", _SDK),
    UnusedKey("glance_endpoint", f"{_NO_EFFECT}: glance_url is the address of Glance"),
)

#: Variables that 0.x or its sample file read, and that the shipped config.yml does not name.
UNUSED_VARIABLES: Mapping[str, str] = {
    "MIRROR_SOURCE": _MIRROR,
    "MIRROR_SOURCE_INDEX": _MIRROR,
    "CORS_ORIGINS": _CORS,
    "SMTP_HOST": _MAIL,
    "BUGSNAG": _BUGSNAG,
    "PRIVILEGED_KEY": _SIGNATURE,
    "NEW_RELIC_CONFIG_FILE": _NEW_RELIC,
    "NEW_RELIC_LICENSE_KEY": _NEW_RELIC,
}

_OTHER_DRIVERS = {
    "s3": "bucket",  # the value of boto_bucket if that is missing
    "boto": "debug",
    "elliptics": "nodes wait_timeout check_timeout io_thread_num net_thread_num"
    " nonblocking_io_thread_num groups verbosity logfile addr_family",
    "oss": "host bucket accessid accesskey",
    "azure": "storage_account_name storage_account_key storage_container use_https",
    # drivers of other packages
    "jss": "bucket accesskey secretkey domain",
    "qiniu": "bucket accesskey secretkey domain",
    "ufile": "baseurl public_key private_key retries retry_interval timeout",
}

# The keys of the driver for Joyent's Manta have no prefix.
_MANTA = ("path", "url", "insecure", "key_id", "private_key", "account")

#: Keys of drivers that this version does not have, and keys that its drivers do not need.
OTHER_DRIVERS = frozenset(
    f"{driver}_{name}" for driver, names in _OTHER_DRIVERS.items() for name in names.split()
) | frozenset(_MANTA)
