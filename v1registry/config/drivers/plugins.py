"""The options of other packages' drivers, checked for the form of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from v1registry.config.drivers import DRIVERS
from v1registry.config.kinds import KINDS
from v1registry.config.option import Option
from v1registry.config.schema import OPTIONS
from v1registry.storage import plugins

_KEY = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = {option.key.partition(".")[0] for option in OPTIONS} | {"storage"}


class Available(Mapping[str, tuple[Option, ...]]):
    """The names of all drivers, ours and those of installed packages, and their options.

    Listing the names imports nothing. Reading the options of another package's driver imports the
    driver, and raises `Refused` if that fails.
    """

    def __init__(self) -> None:
        found = plugins.found()
        self.plugins = {name: found[name] for name in found if name not in DRIVERS}
        #: drivers of other packages that are not used, because ours have the same names
        self.hidden = tuple(found[name] for name in found if name in DRIVERS)

    def __getitem__(self, name: str) -> tuple[Option, ...]:
        return DRIVERS[name] if name in DRIVERS else declared(self.plugins[name])

    def __contains__(self, name: object) -> bool:
        return name in DRIVERS or name in self.plugins

    def __iter__(self) -> Iterator[str]:
        yield from DRIVERS
        yield from self.plugins

    def __len__(self) -> int:
        return len(DRIVERS) + len(self.plugins)


def declared(plugin: plugins.Plugin) -> tuple[Option, ...]:
    """Return the options in the driver's `OPTIONS`: mappings with the fields of `Option`."""
    try:
        items = list(plugin.load().OPTIONS)
    except TypeError as error:
        raise plugin.refused(f"declares its options wrongly: {error}") from error
    return tuple(_option(plugin, number, item) for number, item in enumerate(items, 1))


def _option(plugin: plugins.Plugin, number: int, item: Any) -> Option:
    try:
        option = item if isinstance(item, Option) else Option(**item)
        _check(option)
    except (TypeError, ValueError) as error:
        name = item.get("key", number) if isinstance(item, Mapping) else number
        raise plugin.refused(f"declares its option {name} wrongly: {error}") from error
    return option


def _check(option: Option) -> None:
    """Raise ValueError if the option has a reserved key, or a kind or default that is not valid."""
    if not _KEY.fullmatch(option.key):
        raise ValueError("its key must consist of lowercase letters, digits and _")
    if option.key in _TAKEN:
        raise ValueError("its key is that of an option of every store")
    if option.kind not in KINDS:
        raise ValueError(f"its kind {option.kind!r} is not one of {', '.join(KINDS)}")
    if option.default is not None:
        try:
            option.check(option.default)
        except ValueError as error:
            raise ValueError(f"its default {error}") from None
