"""Reading a password file of `htpasswd -B`: one line `name:hash` for each account."""

from __future__ import annotations

import re
from pathlib import Path

_LARGEST = 16 * 1024 * 1024
_BCRYPT = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}")


def read(path: str) -> dict[str, str]:
    """Return names and bcrypt hashes. Empty lines and lines that begin with # are ignored.

    :raises OSError: the file cannot be read.
    :raises ValueError: a line has another form. The text names its number and quotes nothing.
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
            raise ValueError(f"line {number} has the name of an earlier line")
        found[name] = hashed
    return found
