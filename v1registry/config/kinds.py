"""The kinds of an option's values.

A kind is a function that returns the checked value. It raises ValueError with a reason that begins
with "must be". The reason never quotes the value, which may be a secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from v1registry.config import access, database, policies, redis

_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}": 1024**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def boolean(value: Any) -> bool:
    # docker-registry 0.x accepted DEBUG=1
    if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise ValueError("must be true or false")


def literal(value: Any) -> bool:
    """Return whether the value is exactly `true`, as in docker-registry 0.x.

    For switches that reduce protection: every other value is false.
    """
    return value is True


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text (put it in quotes)")
    if not value.isprintable():
        raise ValueError("must be text without line breaks and control characters")
    return value


def path(value: Any) -> str:
    if not text(value):
        raise ValueError("must be a path")
    return str(value)


def url_path(value: Any) -> str:
    if not text(value).startswith("/") or not value.isascii():
        raise ValueError("must be a path that begins with /, in ASCII")
    return str(value)


def url(value: Any) -> str:
    """Check the URL of a server. It may have a path, but no account, query or fragment."""
    try:
        parts = urlsplit(text(value))
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not value.isascii() or re.search(r"[?#@\s\\]", value):
        raise ValueError("must be a URL such as https://host.example/path")
    return str(value)


def pem(value: Any) -> str:
    """Check the text of a PEM file, or the path of one."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be the text of a PEM file, or its path")
    return value if "-----BEGIN " in value else path(value)


def endpoints(value: Any) -> str:
    items = value if isinstance(value, list) else [value]
    joined = ", ".join(text(item) for item in items)
    if not joined.isascii():
        raise ValueError("must be hosts, in ASCII")
    return joined


def addressing(value: Any) -> str:
    """Check `path` or `virtual`, or the equivalent class of docker-registry's library boto."""
    word = str(value).rpartition(".")[2].lower()
    if word in ("path", "ordinarycallingformat", "protocolindependentordinarycallingformat"):
        return "path"
    if word in ("virtual", "subdomaincallingformat", "vhostcallingformat"):
        return "virtual"
    raise ValueError("must be path, virtual, OrdinaryCallingFormat or SubdomainCallingFormat")


def auth_version(value: Any) -> int:
    """Check the version of OpenStack's authentication, written as 3, "3", 2.0 or v3."""
    found = re.fullmatch(r"v?([123])(\.0)?", str(value))
    if found is None:
        raise ValueError("must be 1, 2 or 3")
    return int(found[1])


def search(value: Any) -> bool:
    """Check the search switch. docker-registry 0.x has a module name here, which means true."""
    if isinstance(value, bool | str):
        return bool(value)
    raise ValueError("must be true, false or sqlalchemy")


def count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    return value


def size(value: Any) -> int:
    """Return bytes of a number, or of a text such as 512KiB, 4MiB, 1.5g (1024) or 1GB (1000)."""
    if isinstance(value, str):
        found = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,6})?) ?([a-zA-Z]{0,3})", value.strip())
        if found and found[2].lower() in _UNITS:
            number = float(found[1]) if "." in found[1] else int(found[1])
            value = int(number * _UNITS[found[2].lower()])
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a size such as 4194304, 4MiB or 1GB")
    return value


def duration(value: Any) -> int:
    """Return seconds of a number, or of a text such as 90s, 30m, 1h30m, 7d."""
    if isinstance(value, str):
        word = value.replace(" ", "").lower()
        if re.fullmatch(r"[0-9]{1,12}", word):
            value = int(word)
        elif re.fullmatch(r"([0-9]{1,12}[smhdw])+", word):
            parts = re.findall(r"([0-9]+)([smhdw])", word)
            value = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a time such as 3600, 30m, 1h or 7d")
    return value


def networks(value: Any) -> tuple[str, ...]:
    """Check IP addresses and networks: a list, or a text with commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError("must be a list of IP addresses and networks")
    found = []
    for item in items:
        word = item.strip() if isinstance(item, str) else ""
        if not word and isinstance(value, str):
            continue
        try:
            network = ipaddress.ip_network(word)
        except ValueError:
            reason = "must be a list of IP addresses and networks such as 10.0.0.0/8"
            raise ValueError(reason) from None
        single = network.prefixlen == network.max_prefixlen
        found.append(str(network.network_address if single else network))
    return tuple(found)


def words(value: Any) -> tuple[str, ...]:
    """Check words: a list, or a text with commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError("must be a list of texts")
    found = [text(item).strip() for item in items]
    if not all(word.isascii() for word in found):
        raise ValueError("must be a list of texts, in ASCII")
    return tuple(word for word in found if word)


def redis_url(value: Any) -> str:
    redis.parse(text(value))
    return str(value)


def prefix(value: Any) -> str:
    """Check a prefix of keys in Redis. Keys of docker-registry 0.x begin with `cache_path:`."""
    if not (isinstance(value, str) and re.fullmatch(r"[!-~]{1,200}", value)):
        raise ValueError("must be text without blanks, in ASCII")
    if value.startswith("cache_path:"):
        raise ValueError("must not begin with cache_path:, as the keys of 0.x do")
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be a mapping")
    return value


KINDS: Mapping[str, Callable[[Any], Any]] = {
    "boolean": boolean,
    "literal": literal,
    "text": text,
    "path": path,
    "URL path": url_path,
    "URL": url,
    "PEM": pem,
    "endpoints": endpoints,
    "choice": text,  # `Option.check` compares it with the choices
    "addressing": addressing,
    "auth version": auth_version,
    "search": search,
    "number": count,
    "size": size,
    "duration": duration,
    "networks": networks,
    "words": words,
    "Redis URL": redis_url,
    "database URL": database.database_url,
    "prefix": prefix,
    "mapping": mapping,
    "rules": access.rules,
    "tag rules": policies.tag_rules,
    "LDAP URL": access.ldap_url,
    "header": access.header,
    "template": access.template,
    "public keys": access.public_keys,
}

#: Kinds that use a variable's text unchanged. As YAML, `pw #1` would become `pw`, and `~` null.
VERBATIM = frozenset(
    {
        *("text", "path", "URL path", "URL", "PEM", "Redis URL", "database URL", "LDAP URL"),
        *("prefix", "header", "template"),
    }
)

#: Kinds that use a variable's text unchanged if YAML parses it as a number or a date.
TEXTUAL = VERBATIM | {"endpoints", "choice", "addressing", "words"}
