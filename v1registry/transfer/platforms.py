"""Platforms such as `linux/arm/v7`, and the choice among the images of an index.

Names and defaults are those of the OCI image specification ("Platform Variants") and containerd.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from v1registry.transfer.errors import TransferError

_ALIASES = {"x86_64": "amd64", "aarch64": "arm64"}
_DEFAULTS = {"arm": "v7", "arm64": "v8", "amd64": "v1"}  # the variant if none is named
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform. `variant` is empty if none is named."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @property
    def exact(self) -> tuple[str, str, str]:
        """The platform with its default variant, for comparison."""
        variant = self.variant or _DEFAULTS.get(self.architecture, "")
        return self.os, self.architecture, variant


def parse(text: str) -> Platform:
    """Return the platform that an option names. Raise TransferError."""
    parts = text.lower().split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise TransferError(
            f"--platform {text}: must be OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT"
        )
    parts[1] = _ALIASES.get(parts[1], parts[1])
    return Platform(*parts)


def of(descriptor: Any) -> Platform | None:
    """Return the platform that a descriptor of an index names; None if it names none."""
    found = descriptor.get("platform") if isinstance(descriptor, dict) else None
    if not isinstance(found, dict):
        return None
    names = (found.get("os"), found.get("architecture"), found.get("variant"))
    return Platform(*(name if isinstance(name, str) else "" for name in names))


def choose(descriptors: Iterable[Any], wanted: Platform) -> Any:
    """Return the descriptor of the image for a platform. Raise TransferError that lists the choices.

    If `wanted` has no variant, choose the image without a variant, or the only one.
    """
    there = [(one, each) for each in descriptors if (one := of(each)) is not None]
    fitting = [(one, each) for one, each in there if one.exact == wanted.exact]
    if not wanted.variant:
        named = (wanted.os, wanted.architecture)
        fitting = [pair for pair in there if (pair[0].os, pair[0].architecture) == named]
        if len({one.exact for one, _ in fitting}) > 1:
            plain = [pair for pair in fitting if not pair[0].variant]
            if not plain:
                raise TransferError(
                    f"there are several images for {wanted}: choose with --platform from"
                    f" {_listed(one for one, _ in fitting)}"
                )
            fitting = plain
    if not fitting:
        raise TransferError(
            f"no image for {wanted} (--platform); there are: {_listed(one for one, _ in there)}"
        )
    return fitting[0][1]


def _listed(platforms: Iterable[Platform]) -> str:
    names = list(dict.fromkeys(str(one) for one in platforms))
    names = [name for name in names if name not in ("", "unknown/unknown")]  # attestations
    more = ", ..." if len(names) > _MOST_SHOWN else ""
    return (", ".join(names[:_MOST_SHOWN]) or "none") + more
