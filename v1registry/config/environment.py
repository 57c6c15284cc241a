"""`_env:VAR[:DEFAULT]`, the form in which a 0.x configuration names environment variables.

It counts only as a whole scalar. The default is everything after the second colon, so it may hold
colons itself (`_env:INDEX_ENDPOINT:https://index.docker.io`).
"""

from __future__ import annotations

from dataclasses import dataclass

_PREFIX = "_env:"


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable's name and its default, as YAML text (empty: null)."""

    variable: str
    default: str


def reference(text: str) -> Reference | None:
    """The reference that a scalar holds, or None if it is an ordinary value.

    :raises ValueError: it names no variable.
    """
    if not text.startswith(_PREFIX):
        return None
    variable, _, default = text.removeprefix(_PREFIX).partition(":")
    if not variable or "=" in variable or "\0" in variable:
        raise ValueError("names no variable, as in _env:NAME or _env:NAME:DEFAULT")
    return Reference(variable, default)
