"""Drivers of other packages, found by entry point; docs/drivers.md says how to write one.

A package names its driver in the entry point group `v1registry.storage`. The configuration chooses
it by that name under `storage`. A package is imported only when its driver is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from v1registry.storage.errors import Refused

GROUP = "v1registry.storage"
_NEEDED = ("OPTIONS", "make")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A driver of another package. It has several `points` if several packages use its name."""

    name: str
    points: tuple[EntryPoint, ...]

    @property
    def package(self) -> str:
        """The name and version of the package, or of all packages with this driver name."""
        return " and ".join(_package(point) for point in self.points)

    def load(self) -> Any:
        """Return the driver's module, with `OPTIONS` and `make`. Raise `Refused` if it is unusable."""
        if len(self.points) > 1:
            raise Refused(f"driver {self.name!r} is in {self.package}: uninstall all but one")
        try:
            module = self.points[0].load()
        except Exception as error:  # an import may raise anything
            raise self.refused(f"cannot be loaded: {type(error).__name__}: {error}") from error
        missing = [name for name in _NEEDED if not hasattr(module, name)]
        if missing:
            raise self.refused(f"has no {' and no '.join(missing)} ({self.points[0].value})")
        return module

    def refused(self, reason: str) -> Refused:
        """Return an error about this driver."""
        return Refused(f"driver {self.name!r} of {self.package} {reason}")


def found() -> Mapping[str, Plugin]:
    """Return the installed drivers by name, in lower case like the names in a configuration."""
    named: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        name = point.name.lower()
        named[name] = (*named.get(name, ()), point)
    return {name: Plugin(name, points) for name, points in sorted(named.items())}


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
