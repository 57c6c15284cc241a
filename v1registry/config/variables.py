"""Environment variables that no option reads, although an administrator may rely on them.

A variable that requests protection stops the start: an administrator who sets `REGISTRY_AUTH`
believes that clients need a password. Other such variables give a warning.

There are three kinds: variables of registry 2.x (Distribution, which reads `REGISTRY_SECTION_KEY`
for each key of its configuration file), variables of docker-registry 0.x without an effect, and
misspelt names of our own options for access.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import yaml

from v1registry.config import legacy
from v1registry.config.drivers import DRIVERS
from v1registry.config.errors import YAML_ERRORS, suggestion
from v1registry.config.schema import OPTIONS

_ACCESS = "ACCOUNTS_HTPASSWD, LDAP_URL or INDEX_ENDPOINT (docs/access.md)"
_TLS = "TLS_CERTIFICATE and TLS_KEY (docs/tls.md)"

#: Variables of registry 2.x that request protection, by their beginning, and our options.
_PROTECTION: Mapping[str, str] = {
    "REGISTRY_AUTH": _ACCESS,
    "REGISTRY_HTTP_TLS": _TLS,
    "REGISTRY_STORAGE_MAINTENANCE_READONLY": "READ_ONLY=true",
}

#: Other variables of registry 2.x, and our options for the same purpose.
_COUNTERPARTS: Mapping[str, str] = {
    "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "STORAGE_PATH",
    "REGISTRY_HTTP_ADDR": "REGISTRY_HOST and REGISTRY_PORT",
    "REGISTRY_LOG_LEVEL": "LOGLEVEL",
    "REGISTRY_LOGLEVEL": "LOGLEVEL",
    "REGISTRY_LOG_FORMATTER": "LOG_FORMAT",
    "REGISTRY_REDIS_ADDR": "CACHE_URL",
    "REGISTRY_CONFIGURATION_PATH": "DOCKER_REGISTRY_CONFIG, for a file of this version",
}

#: The sections of a configuration file of registry 2.x.
_SECTIONS = (
    *("AUTH", "CATALOG", "COMPATIBILITY", "CONFIGURATION", "HEALTH", "HTTP", "LOG", "LOGLEVEL"),
    *("MIDDLEWARE", "NOTIFICATIONS", "POLICY", "PROXY", "REDIS", "REPORTING", "STORAGE"),
    *("VALIDATION", "VERSION"),
)
_REGISTRY_2 = re.compile(rf"REGISTRY_({'|'.join(_SECTIONS)})(_\w+)?")

# Docker and Kubernetes describe a service called `NAME` by such variables.
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://\S+")
_LINK_PATH = re.compile(r"/[\w.-]+/[\w.-]+")  # `NAME_NAME`: both containers
_LINK_NAME = re.compile(
    r"\w+_SERVICE_(HOST|PORT)(_\w+)?|\w+_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|\w+?_ENV_\w+"
)

#: The beginnings of variables for access and encryption.
_OURS = ("ACCESS_", "ACCOUNTS_", "INDEX_", "LDAP_", "TLS_")
_OFF = ("", "none", "false", "0", "no", "off")


def is_service_link(name: str, text: str) -> bool:
    """Return whether a container platform set this variable to describe another service.

    Kubernetes and `docker run --link` set `REGISTRY_PORT=tcp://10.0.0.9:5000`, and more variables
    of that form, for a service called `registry`.
    """
    if is_link_port(name, text) or _LINK_NAME.fullmatch(name) is not None:
        return True
    return name.endswith("_NAME") and _LINK_PATH.fullmatch(text) is not None


def is_link_port(name: str, text: str) -> bool:
    """Return whether a port is a service link: `NAME_PORT=tcp://10.0.0.9:5000`.

    A configuration file that names another variable of a service link (`NAME_PORT_6379_TCP_ADDR`,
    `NAME_ENV_PASSWORD`) requests its value.
    """
    return name.endswith("_PORT") and _LINK_VALUE.fullmatch(text) is not None


def link_warning(name: str, text: str) -> str:
    """Return the warning for a service link in a variable that an option reads."""
    return (
        f"variable {name}: ignored: {text} is a service link of Docker or Kubernetes, not a port;"
        " set `enableServiceLinks: false` to avoid such variables"
    )


def refused(environ: Mapping[str, str], read: Collection[str] = ()) -> Iterator[str]:
    """Iterate over an error for each variable that requests protection without an effect.

    `read` has the variables that the configuration file reads.
    """
    for name in _of_registry_2(environ, read):
        if (ours := _protection(name, _parsed(environ[name]))) is not None:
            yield (
                f"variable {name} protects registry 2.x, but not this server: use {ours},"
                f" and remove {name}"
            )


def _parsed(text: str) -> Any:
    """Return the value of a variable: registry 2.x also reads a whole section from one variable."""
    try:
        return yaml.safe_load(text)
    except YAML_ERRORS:
        return text


def _protection(name: str, value: Any) -> str | None:
    """Return our option for the protection that a variable requests, or None."""
    for beginning, ours in _PROTECTION.items():
        if f"{name}_".startswith(f"{beginning}_"):
            # Authentication is on without parameters too: `{silly: null}`.
            keys = name == "REGISTRY_AUTH" and isinstance(value, dict)
            return ours if any(map(_is_on, value if keys else [value])) else None
        # Only names that can lead to protection are followed: an anchor may refer to itself.
        if beginning.startswith(f"{name}_") and isinstance(value, dict):
            found = [_protection(f"{name}_{key}".upper(), inner) for key, inner in value.items()]
            return next(filter(None, found), None)
    return None


def _is_on(value: Any) -> bool:
    if isinstance(value, dict):
        return any(bool(v) if isinstance(v, dict) else _is_on(v) for v in value.values())
    if isinstance(value, list):
        return bool(value)
    return value is not None and str(value).strip().lower() not in _OFF


def warnings(environ: Mapping[str, str], read: Collection[str] = ()) -> list[str]:
    """Return a warning for each other variable that an administrator may expect to have an effect."""
    found = []
    for name, text in legacy.UNUSED_VARIABLES.items():
        if environ.get(name) and name not in read:
            found.append(f"variable {name}: {text}")
    for name in _of_registry_2(environ, read):
        ours = _COUNTERPARTS.get(name)
        hint = f": use {ours}" if ours else "; docs/configuration.md lists the options"
        found.append(f"variable {name}: has no effect, it belongs to registry 2.x{hint}")
    known = _known()
    for name, text in environ.items():
        unknown = name.startswith(_OURS) and text and name not in known and name not in read
        if unknown and not is_service_link(name, text):
            hint = suggestion(name, known)
            found.append(f"variable {name}: has no effect: no option reads it{hint}")
    if (link := environ.get("REGISTRY_PORT")) and is_service_link("REGISTRY_PORT", link):
        found.append(link_warning("REGISTRY_PORT", link))
    return found


def _of_registry_2(environ: Mapping[str, str], read: Collection[str]) -> list[str]:
    return [
        name
        for name, text in sorted(environ.items())
        if _REGISTRY_2.fullmatch(name)
        and text
        and name not in read
        and not is_service_link(name, text)
    ]


def _known() -> set[str]:
    options = [*OPTIONS, *(option for found in DRIVERS.values() for option in found)]
    return {option.variable for option in options if option.variable}
