"""Passwords, stored as bcrypt hashes. `hash` and `verify` are slow: call them in the thread pool."""

from __future__ import annotations

import re

from v1registry.lib import errors
from v1registry.lib.errors import Failure

LONGEST = 72  # bytes; bcrypt ignores all others
SHORTEST = 8  # characters

COST = 10  # of new hashes: the binary logarithm of the rounds
HIGHEST = 14  # highest cost to which wrong passwords are slowed down, about a second

_COST = re.compile(r"\$2[aby]\$([0-9]{2})\$")
# The rest of a hash that is compared only for its computing time.
_NOBODY = "wxJUPqZzWG/dGUIomi9dyOaH9jOLEuuwXNf1yv0s/VEa19uR2D/H6"


def check_new(password: str) -> None:
    """Raise Failure 400 for a password that the registry does not accept."""
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


def hash(password: str, rounds: int = COST) -> str:
    """Return the hash to store, for a password that `check_new` accepts."""
    import bcrypt

    return bcrypt.hashpw(password.encode("utf-8"), bcrypt.gensalt(rounds)).decode("ascii")


def cost(hashed: str | None) -> int:
    """Return the cost of a bcrypt hash, 0 for any other text."""
    match = _COST.match(hashed or "")
    return int(match[1]) if match else 0


def verify(password: str, hashed: str | None, most: int = COST) -> bool:
    """Return whether this is the password; `hashed` is None for an account that does not exist.

    A wrong password takes at least the time of a hash with the cost `most`, whether the account exists
    or not. Otherwise a client could find out the names of accounts by measuring.

    Hashes that htpasswd wrote (`$2y$`) are accepted. A text that is not a bcrypt hash matches no
    password.
    """
    try:
        data = password.encode("utf-8")
    except UnicodeEncodeError:
        return False
    if len(data) > LONGEST:
        return False
    if hashed is not None and _matches(data, hashed):
        return True
    most = min(most, HIGHEST)
    own = cost(hashed)
    # 2 ** own rounds are done; the rounds of the following costs make them 2 ** most.
    for rest in range(own, most) if own else [most]:
        _matches(data, f"$2b${rest:02}${_NOBODY}")
    return False


def _matches(data: bytes, hashed: str) -> bool:
    import bcrypt

    try:
        return bcrypt.checkpw(data, hashed.encode("ascii", "replace"))
    except ValueError:
        return False
