"""Reading a password file as `htpasswd -B` writes it: a line `name:hash` an account."""

from __future__ import annotations

import re
from pathlib import Path

_LARGEST = 16 * 1024 * 1024
_BCRYPT = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}")


def read(path: str) -> dict[str, str]:
    """Names and bcrypt hashes. Empty lines and those that begin with # are left out.

    :raises OSError: it cannot be read.
    :raises ValueError: a line is something else; the text says which and quotes nothing of it.
    """
    with Path(path).open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError("too large for a password file")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, hashed = line.partition(":")
        hashed = hashed.strip()
        if not colon or not name:
            raise ValueError(f"line {number} is not name:hash")
        if not _BCRYPT.fullmatch(hashed):
            raise ValueError(f"line {number} holds no bcrypt hash: make it with `htpasswd -B`")
        if name in found:
            raise ValueError(f"line {number} has a name that stands there before")
        found[name] = hashed
    return found
