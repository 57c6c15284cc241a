"""`_env:VAR[:DEFAULT]`, the form in which a configuration names environment variables.

The form is that of docker-registry 0.x. It must be a whole scalar. The default is all text after
the second colon, so it may contain colons (`_env:INDEX_ENDPOINT:https://index.docker.io`).
"""

from __future__ import annotations

from dataclasses import dataclass

_PREFIX = "_env:"


@dataclass(frozen=True, slots=True)
class VariableReference:
    """A variable's name and its default, as YAML text (empty: null)."""

    variable: str
    default: str


def reference(text: str) -> VariableReference | None:
    """Return the reference in a scalar; None for any other value.

    :raises ValueError: the reference names no variable.
    """
    if not text.startswith(_PREFIX):
        return None
    variable, _, default = text.removeprefix(_PREFIX).partition(":")
    if not variable or "=" in variable or "\0" in variable:
        raise ValueError("names no variable, as in _env:NAME or _env:NAME:DEFAULT")
    return VariableReference(variable, default)
