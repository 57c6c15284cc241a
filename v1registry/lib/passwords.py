"""Passwords, kept as bcrypt hashes. Both functions compute for long: call them by `offload`."""

from __future__ import annotations

from v1registry.lib import errors
from v1registry.lib.errors import Failure

LONGEST = 72  # bytes; bcrypt looks at no more
SHORTEST = 8  # characters

_ROUNDS = 10
# What a wrong name is compared with, so that it costs the time of a wrong password.
_NOBODY = "$2b$10$wxJUPqZzWG/dGUIomi9dyOaH9jOLEuuwXNf1yv0s/VEa19uR2D/H6"


def check_new(password: str) -> None:
    """Raise Failure 400 for a password that we do not take."""
    if len(password) < SHORTEST:
        raise Failure(400, f"The password must have at least {SHORTEST} characters")
    try:
        size = len(password.encode("utf-8"))
    except UnicodeEncodeError:
        raise Failure(*errors.TEXT_INVALID) from None
    if size > LONGEST:
        raise Failure(400, f"The password must not be longer than {LONGEST} bytes")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in password):
        raise Failure(400, "The password must not hold control characters")


def hash(password: str, rounds: int = _ROUNDS) -> str:
    """The hash to keep; for a password that `check_new` takes."""
    import bcrypt

    return bcrypt.hashpw(password.encode("utf-8"), bcrypt.gensalt(rounds)).decode("ascii")


def verify(password: str, hashed: str | None) -> bool:
    """Whether this is the password; `hashed` is None for an account that there is not.

    Hashes that htpasswd wrote (`$2y$`) count too. What is no bcrypt hash fits no password.
    """
    import bcrypt

    try:
        data = password.encode("utf-8")
    except UnicodeEncodeError:
        return False
    if len(data) > LONGEST:
        return False
    try:
        fits = bcrypt.checkpw(data, (hashed or _NOBODY).encode("ascii", "replace"))
    except ValueError:
        return False
    return fits and hashed is not None
