"""TarSum for the tests' clients, by protocol-v1.md section 3 and independent of our own code."""

from __future__ import annotations

import hashlib

_BLOCK = 512
_FIELDS = {  # offset, length; ustar
    "name": (0, 100), "mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12),
    "mtime": (136, 12), "typeflag": (156, 1), "linkname": (157, 100), "uname": (265, 32),
    "gname": (297, 32), "devmajor": (329, 8), "devminor": (337, 8),
}  # fmt: skip
_TEXTS = {"name", "typeflag", "linkname", "uname", "gname"}


def tarsum(json_bytes: bytes, tar: bytes, *, v1: bool = False, last_only: bool = False) -> str:
    """The header value for an uncompressed ustar `tar` without long names.

    `last_only`: of entries with one name only the last counts, as in engines 0.7.3 to 1.2.
    """
    digests: list[tuple[str, str]] = []
    position = 0
    while position + _BLOCK <= len(tar) and any(tar[position : position + _BLOCK]):
        header = tar[position : position + _BLOCK]
        values = {name: _value(name, header) for name in _FIELDS}
        size = int(values["size"])
        body = tar[position + _BLOCK : position + _BLOCK + size]
        names = [name for name in _FIELDS if not (v1 and name == "mtime")]
        head = "".join(f"{name}{values[name]}" for name in names)
        digests.append((values["name"], hashlib.sha256(head.encode() + body).hexdigest()))
        position += _BLOCK + -(-size // _BLOCK) * _BLOCK
    if last_only:
        digests = list(dict(digests).items())
    text = "".join(sorted(digest for _, digest in digests))
    total = hashlib.sha256(json_bytes + text.encode()).hexdigest()
    return f"tarsum{'.v1' if v1 else ''}+sha256:{total}"


def _value(name: str, header: bytes) -> str:
    start, length = _FIELDS[name]
    text = header[start : start + length].split(b"\0")[0].decode()
    return text if name in _TEXTS else str(int(text.strip() or "0", 8))
