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

import yaml

from v1registry.config import legacy
from v1registry.config.drivers import DRIVERS
from v1registry.config.errors import suggestion
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
    if name.endswith("_PORT") and _LINK_VALUE.fullmatch(text):
        return True
    return _LINK_NAME.fullmatch(name) is not None


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
        asking = {inner for inner, text in _leaves(name, environ[name]) if text not in _OFF}
        for beginning, ours in _PROTECTION.items():
            if any(f"{inner}_".startswith(f"{beginning}_") for inner in asking):
                yield (
                    f"variable {name} protects registry 2.x, but not this server: use {ours},"
                    f" and remove {name}"
                )


def _leaves(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Iterate over equivalent variables: registry 2.x also reads a whole section from one variable."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        value = text
    if not isinstance(value, dict) or not value:
        yield name, text.strip().lower()
        return
    for key, inner in value.items():
        below = yaml.safe_dump(inner) if isinstance(inner, dict) else str(inner)
        yield from _leaves(f"{name}_{str(key).upper()}", below)


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
