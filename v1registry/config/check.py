"""One flavor's values, held against the table of options."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from v1registry.config import access, certificates, index, legacy, redis, variables
from v1registry.config.drivers import ALTERNATE, DRIVERS, STORAGE
from v1registry.config.drivers.contradictions import contradictions
from v1registry.config.drivers.plugins import Available
from v1registry.config.errors import Problem, suggestion
from v1registry.config.options import TEXTUAL, VERBATIM, Option
from v1registry.config.reader import Path, Place
from v1registry.config.schema import GROUPS, Config
from v1registry.config.tables import OPTIONS
from v1registry.storage.errors import Refused, installing

Drivers = Mapping[str, tuple[Option, ...]]

_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run")


class Checker:
    """Checks one flavor; `problems` and `warnings` hold what it found.

    `verbatim` names the options (flavor first) that take a variable's text as it stands.
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
        """The checked configuration; None if there are problems."""
        found = self._options(OPTIONS)
        storage = {} if found["index.alone"] else self._storage()
        if storage is None:
            storage = {}  # which keys are the driver's, nobody can tell
        else:
            self._unknown_keys()
        self._contradictions(found, storage)
        self._dead_keys()
        self._variables()
        self._without_effect(found, storage)
        if self.problems:
            return None
        for group, holder in GROUPS.items():
            names = [field.name for field in dataclasses.fields(holder)]
            found[group] = holder(**{name: found.pop(f"{group}.{name}") for name in names})
        config = Config(
            file=file, flavor=self._flavor, warnings=(), storage=MappingProxyType(storage), **found
        )
        self._redis(config)
        if self.problems:
            return None
        return dataclasses.replace(config, warnings=tuple(self.warnings))

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
        """The value, null where it or its group is missing, and where it comes from."""
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
            # YAML made a number or a date of a variable's text: a folder may be called 2014-01-01;
            # or a mapping, if a colon ends it
            value = text.strip()
        return value, place

    def _storage(self) -> dict[str, Any] | None:
        """The driver and its options, {} if there is none of that name, None if it is broken."""
        name = self._option(STORAGE)
        if name is None:
            return {}
        driver = name.lower()
        if driver not in self._drivers:
            there = ", ".join(sorted(self._drivers))
            reason = f"driver {name!r} is not available in this version (there are: {there})"
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
        ours = [*OPTIONS, STORAGE, *(option for found in DRIVERS.values() for option in found)]
        known = {option.key.partition(".")[0] for option in ours} | legacy.OTHER_DRIVERS
        known |= {dead.key for dead in legacy.DEAD}
        members: dict[str, set[str]] = {}
        for group, dot, name in (option.key.partition(".") for option in ours):
            if dot:
                members.setdefault(group, set()).add(name)
        if any(key not in known for key in self._values):
            known |= self._keys_of_other_packages()
        for key, value in self._values.items():
            if key not in known:
                self._problem(key, f"unknown key{suggestion(key, known)}")
            elif key in members and value is not None:
                self._unknown_members(key, value, members[key])

    def _keys_of_other_packages(self) -> set[str]:
        """A `common` may hold the options of drivers that only other flavors choose."""
        known: set[str] = set()
        for name in self._drivers:
            if name not in DRIVERS:
                with contextlib.suppress(Refused):  # a problem for who chooses it
                    known |= {option.key for option in self._drivers[name]}
        return known

    def _unknown_members(self, group: str, value: Any, known: set[str]) -> None:
        if value is True and group in ("cache", "cache_lru"):
            # a sample file of 0.6 says so
            self._warn(group, "has no effect: name the Redis by `host` and `port`")
            return
        if not isinstance(value, dict):
            self._problem(group, f"must be a mapping, not {_shown(value)}")
            return
        for name in value:
            if name not in known:
                self._problem(f"{group}.{name}", f"unknown key{suggestion(name, known)}")

    def _contradictions(self, found: Mapping[str, Any], storage: Mapping[str, Any]) -> None:
        for key, reason in (
            *access.contradictions(found),
            *index.contradictions(found),
            *certificates.problems(found),
        ):
            self._problem(key, reason)
        wrong = {problem.key.removeprefix(f"{self._flavor}.") for problem in self.problems}
        for key, reason in contradictions(storage, wrong):
            self._problem(key, reason)

    def _dead_keys(self) -> None:
        for dead in legacy.DEAD:
            if dead.is_set(self._values.get(dead.key)):
                self._warn(dead.key, dead.replaced_by)
        if self._values.get("extensions"):
            reason = (
                "must be empty: this version runs no extensions, and one that vetoes pushes would"
                " be missed; see docs/upgrade.md"
            )
            self._problem("extensions", reason)

    def _variables(self) -> None:
        """Variables that look like options but are none; those that ask for protection are refused."""
        read = {place.variable for place in self._places.values() if place.variable}
        for reason in variables.refused(self._environ, read):
            self.problems.append(Problem("", reason))
        self.warnings += variables.warnings(self._environ, read)

    def _without_effect(self, found: Mapping[str, Any], storage: Mapping[str, Any]) -> None:
        for key, text in (*access.without_effect(found), *certificates.unreadable(found)):
            self._warn(key, text)
        if found["standalone"] and self._values.get("disable_token_auth") not in (None, False):
            self._warn("disable_token_auth", "has no effect: a standalone registry checks no token")
        if self._values.get("search_backend") not in (None, "", True, False, "sqlalchemy"):
            self._warn("search_backend", "only the built-in search is there, which is used instead")
        self._databases(found)
        driver = storage.get("storage")
        if driver in ("local", "file") and found["storage_redirect"]:
            text = "has no effect on local files; nginx_x_accel_redirect lets nginx send them"
            self._warn("storage_redirect", text)
        if driver in ("local", "file") and found["nginx_x_accel_store"]:
            text = "has no effect on local files; nginx_x_accel_redirect is for them"
            self._warn("nginx_x_accel_store", text)
        if driver == "glance":
            for key in ("storage_redirect", "nginx_x_accel_store"):
                if found[key]:
                    self._warn(key, "has no effect: Glance has no URLs for clients")
        redirects = found["storage_redirect"] or found["nginx_x_accel_store"]
        if storage.get("cloudfront.base") and not redirects:
            self._warn("cloudfront", "has no effect without storage_redirect: true")
        if isinstance(self._drivers, Available):
            for plugin in self._drivers.hidden:
                text = f"{plugin.name!r} is our own driver; that of {plugin.package} is not used"
                self._warn("storage", text)
        if driver == "memory":
            text = "`memory`: every process has a store of its own and forgets it at its end"
            self._warn("storage", text)
        files = storage.get(ALTERNATE, driver)
        if files in ("local", "file") and is_temporary(root := storage["storage_path"] or ""):
            text = f"{root} lies in a temporary folder: images may vanish at the next restart"
            self._warn("storage_path", text)

    def _databases(self, found: Mapping[str, Any]) -> None:
        own, old = found["index.database"], found["sqlalchemy_index_database"]
        if own is not None:
            file = index.file_of(own)
            if file is not None and is_temporary(file):
                text = f"{file} lies in a temporary folder: accounts may vanish at the next restart"
                self._warn("index.database", text)
        elif old not in (None, index.OLD_DEFAULT) and (reason := index.unusable(old)):
            text = f"{reason}; until then the names are read from the store"
            self._warn("sqlalchemy_index_database", text)

    def _redis(self, config: Config) -> None:
        if config.redis is None:
            return
        used = "cache_url" if config.cache_url else "cache" if config.cache.host else "cache_lru"
        for key, section in (("cache", config.cache), ("cache_lru", config.cache_lru)):
            if section.host and redis.chosen(None, None, section, section) != config.redis:
                self._warn(key, f"has no effect: there is one shared cache, that of {used}")
        if importlib.util.find_spec("redis") is None:
            reason = f"needs the package redis, which is not installed: {installing('redis')}"
            self._problem(used if used == "cache_url" else f"{used}.host", reason)

    def _problem(self, key: str, reason: str) -> None:
        place = self._places.get((self._flavor, *key.split(".")))
        line = place.line if place is not None else None
        self.problems.append(Problem(f"{self._flavor}.{key}", reason, line))

    def _warn(self, key: str, text: str) -> None:
        self.warnings.append(f"{self._flavor}.{key}: {text}")


def is_temporary(folder: str) -> bool:
    """Whether a folder lies where systems remove files by age or at restart."""
    real = os.path.realpath(folder)
    roots = {root for name in _TEMPORARY for root in (name, os.path.realpath(name))}
    return any(real == root or real.startswith(f"{root}/") for root in roots)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "this list"
    word = repr(value)
    return word if len(word) <= 60 else f"{word[:57]}..."
