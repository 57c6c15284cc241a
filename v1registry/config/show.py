"""The effective configuration as YAML, with masked secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from v1registry.config.drivers import ALTERNATE, DRIVERS, STORAGE
from v1registry.config.drivers.plugins import Available
from v1registry.config.option import Option
from v1registry.config.schema import OPTIONS, Config

MASK = "********"

_SECRET_NAME = re.compile(r"pass|secret|token|credential|key|auth", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/@\s]*@")


def effective(config: Config) -> dict[str, Any]:
    """Return the effective values, nested as in the file; sizes in bytes, times in seconds."""
    shown: dict[str, Any] = {}
    if config.storage:  # empty for an index without a registry
        own = Available()[config.storage[STORAGE.key]]
        alternate = DRIVERS.get(config.storage.get(ALTERNATE, ""), ())
        for option in (STORAGE, *own, *alternate):
            _put(shown, option, config.storage[option.key])
    for option in OPTIONS:
        value: Any = config
        for name in option.key.split("."):
            value = getattr(value, name)
        _put(shown, option, value)
    return shown


def as_yaml(config: Config) -> str:
    """Return `effective` as YAML, below a comment with the file and the flavor."""
    head = f"# flavor {config.flavor} of {config.file}\n"
    return head + yaml.safe_dump(effective(config), sort_keys=False, allow_unicode=True)


def _put(shown: dict[str, Any], option: Option, value: Any) -> None:
    *groups, name = option.key.split(".")
    for group in groups:
        shown = shown.setdefault(group, {})
    if option.kind in ("Redis URL", "database URL"):
        shown[name] = _plain(value)  # only the password in the URL is masked
    elif option.secret and value is not None:
        shown[name] = MASK
    elif option.kind in ("rules", "tag rules"):
        shown[name] = None if value is None else [rule.as_mapping() for rule in value]
    elif option.kind == "mapping":
        shown[name] = _masked(value)
    else:
        shown[name] = _plain(value)


def _masked(value: Any) -> Any:
    """Return a free-form value in which each member with the name of a secret is masked."""
    if isinstance(value, Mapping):
        return {
            name: MASK
            if _SECRET_NAME.search(name) and not isinstance(item, Mapping | list) and item
            else _masked(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _PASSWORD_IN_URL.sub(f"{MASK}@", value)
    return list(value) if isinstance(value, tuple) else value
