"""Checking the values of one flavor by the table of options."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import Any

from v1registry.config import legacy, no_effect, variables
from v1registry.config.contradictions import contradictions
from v1registry.config.drivers import ALTERNATE, DRIVERS, STORAGE
from v1registry.config.errors import Problem, suggestion
from v1registry.config.kinds import TEXTUAL, VERBATIM
from v1registry.config.option import Option, filled
from v1registry.config.reader import Path, Place
from v1registry.config.schema import OPTIONS, Config
from v1registry.storage.errors import Refused

Drivers = Mapping[str, tuple[Option, ...]]


class Checker:
    """Checks one flavor, and collects `problems` and `warnings`.

    `verbatim` has the options (flavor first) whose value is the unchanged text of a variable.
    """

    def __init__(
        self,
        flavor: str,
        values: Mapping[str, Any],
        places: Mapping[Path, Place],
        drivers: Drivers,
        environ: Mapping[str, str],
    ) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.verbatim: set[str] = set()
        self._flavor = flavor
        self._values = values
        self._places = places
        self._drivers = drivers
        self._environ = environ

    def config(self, file: str) -> Config | None:
        """Return the checked configuration; None if there are problems."""
        values = self._options(OPTIONS)
        storage = {} if values["index.alone"] else self._storage()
        if storage is not None:  # the keys of a broken driver are unknown, so no key can be checked
            self._unknown_keys()
        config = filled(
            Config,
            values,
            file=file,
            flavor=self._flavor,
            warnings=(),
            storage=MappingProxyType(storage or {}),
        )
        wrong = {problem.key.removeprefix(f"{self._flavor}.") for problem in self.problems}
        for key, reason in contradictions(config, wrong):
            self._problem(key, reason)
        for unused in legacy.UNUSED_KEYS:
            if unused.is_set(self._values.get(unused.key)):
                self._warn(unused.key, unused.replaced_by)
        self._variables()
        for key, text in no_effect.warnings(config, self._values):
            self._warn(key, text)
        for plugin in getattr(self._drivers, "hidden", ()):
            text = f"{plugin.name!r} is our own driver; that of {plugin.package} is not used"
            self._warn(STORAGE.key, text)
        return None if self.problems else replace(config, warnings=tuple(self.warnings))

    def _options(self, options: Iterable[Option]) -> dict[str, Any]:
        return {option.key: self._option(option) for option in options}

    def _option(self, option: Option) -> Any:
        value, place = self._given(option)
        try:
            return option.check(value)
        except ValueError as error:
            reason = str(error)
            if place is not None and place.variable is not None:
                reason += f" (variable {place.variable})"
            if value is not None and not option.secret:
                reason += f", not {_shown(value)}"
            self._problem(option.key, reason)
            return None

    def _given(self, option: Option) -> tuple[Any, Place | None]:
        """Return the value, null if it or its group is missing, and its place."""
        value: Any = self._values
        path = tuple(option.key.split("."))
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if value is None and option.formerly:
            path, value = (option.formerly,), self._values.get(option.formerly)
        place = self._places.get((self._flavor, *path))
        if place is None and option.outside and option.variable:
            text = self._environ.get(option.variable) or None
            return text, Place(0, option.variable, text)
        if place is not None and place.variable is not None and option.kind in VERBATIM:
            self.verbatim.add(".".join((self._flavor, *path)))
            return (place.text or "").rstrip("\r\n") or None, place
        text = place.text if place is not None and option.kind in TEXTUAL else None
        kept = (str, list) if option.kind == "prefix" else (str, list, dict)
        if text is not None and value is not None and not isinstance(value, kept):
            # YAML parsed the variable's text as a number or a date (a folder may be called
            # 2014-01-01), or as a mapping, if it ends with a colon.
            value = text.strip()
        return value, place

    def _storage(self) -> dict[str, Any] | None:
        """Return the driver and its options; {} for an unknown driver, None for a broken one."""
        name = self._option(STORAGE)
        if name is None:
            return {}
        driver = name.lower()
        if driver not in self._drivers:
            known = ", ".join(sorted(self._drivers))
            reason = f"driver {name!r} is not available in this version (available: {known})"
            self._problem(STORAGE.key, reason)
            return {}
        try:
            options = self._drivers[driver]
        except Refused as error:
            self._problem(STORAGE.key, str(error))
            return None
        found = {STORAGE.key: driver, **self._options(options)}
        alternate = DRIVERS.get(found.get(ALTERNATE) or "", ())
        return {**found, **self._options(alternate)}

    def _unknown_keys(self) -> None:
        members: dict[str, set[str]] = {}  # of each group; no member for an option without a group
        for option in (*OPTIONS, STORAGE, *chain.from_iterable(DRIVERS.values())):
            group, dot, name = option.key.partition(".")
            members.setdefault(group, set()).update([name] if dot else [])
        known = {*members, *legacy.OTHER_DRIVERS, *(unused.key for unused in legacy.UNUSED_KEYS)}
        if any(key not in known for key in self._values):
            known |= self._keys_of_other_packages()
        for key, value in self._values.items():
            if key not in known:
                self._problem(key, f"unknown key{suggestion(key, known)}")
            elif members.get(key) and value is not None:
                self._unknown_members(key, value, members[key])

    def _keys_of_other_packages(self) -> set[str]:
        """Return the options of other packages' drivers: `common` may set them for other flavors."""
        known: set[str] = set()
        for name in self._drivers:
            if name not in DRIVERS:
                with contextlib.suppress(Refused):  # an error only for flavors that use the driver
                    known |= {option.key for option in self._drivers[name]}
        return known

    def _unknown_members(self, group: str, value: Any, known: set[str]) -> None:
        if value is True and group in ("cache", "cache_lru"):
            # A sample file of docker-registry 0.6 has this value.
            self._warn(group, "has no effect: set `host` and `port` of the Redis")
            return
        if not isinstance(value, dict):
            self._problem(group, f"must be a mapping, not {_shown(value)}")
            return
        for name in value:
            if name not in known:
                self._problem(f"{group}.{name}", f"unknown key{suggestion(name, known)}")

    def _variables(self) -> None:
        """Check variables that no option reads. Those that request protection are problems."""
        read = {place.variable for place in self._places.values() if place.variable}
        for reason in variables.refused(self._environ, read):
            self.problems.append(Problem("", reason))
        self.warnings += variables.warnings(self._environ, read)

    def _problem(self, key: str, reason: str) -> None:
        place = self._places.get((self._flavor, *key.split(".")))
        line = place.line if place is not None else None
        self.problems.append(Problem(f"{self._flavor}.{key}", reason, line))

    def _warn(self, key: str, text: str) -> None:
        self.warnings.append(f"{self._flavor}.{key}: {text}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "this list"
    word = repr(value)
    return word if len(word) <= 60 else f"{word[:57]}..."
