"""What a store says of an object's bytes, to be held against those that come.

TCP's own sum lets one damaged packet in some ten thousand through, and a proxy's memory may fail;
over TLS only the latter remains. Every store tells a checksum of what it has, and of small objects
it is compared. What is not understood counts as not told.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from v1registry.storage.errors import CorruptObject

_MD5 = re.compile(r'"?([0-9a-fA-F]{32})"?')
_S3_ETAG = re.compile(r'"?[0-9a-fA-F]{32}(-[0-9]+)?"?')  # -2: of what came in two parts
# whose keys encrypt an object: then S3's ETag is no MD5
_S3_KEYS = "x-amz-server-side-encryption-customer-algorithm"
_S3_ENCRYPTION = "x-amz-server-side-encryption"
_S3_OWN = ("", "AES256")
# a large object of Swift's, whose ETag is made of those of its segments
_SEGMENTS = ("X-Static-Large-Object", "X-Object-Manifest")


Compute = Callable[[bytes], bytes]


class Checksum(NamedTuple):
    """A checksum; `name` is the store's word for it."""

    name: str
    digest: bytes
    compute: Compute

    def fits(self, data: bytes) -> bool:
        return self.compute(data) == self.digest


def md5(data: bytes | bytearray) -> bytes:
    """Not for security: what stores compare."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def hex_md5(data: bytes | bytearray) -> str:
    return md5(data).hex()


def of_s3(headers: Mapping[str, str], *, etag_is_md5: bool) -> Checksum | None:
    """What S3 tells of a whole object: a checksum that whoever wrote it chose, else its ETag.

    `headers` has lower-case names. Raise Damaged where the ETag is none.
    """
    for name, compute in _AMAZON.items():
        found = _base64(name, headers.get(name, ""), compute)
        if found is not None:
            return found
    if _GOOGLE in headers:  # its interface that is like S3's
        return of_google(headers)
    etag = headers.get("etag", "")
    if not etag_is_md5:
        return None
    if not _S3_ETAG.fullmatch(etag):
        raise CorruptObject(f"the ETag {etag} has no MD5's form (s3_etag_is_md5)")
    plain = _S3_KEYS not in headers and headers.get(_S3_ENCRYPTION, "") in _S3_OWN
    return _hex("ETag", etag) if plain else None


def of_swift(headers: Mapping[str, str]) -> Checksum | None:
    """Swift's ETag, of what is not made of segments. Raise Damaged if it is none."""
    if any(name in headers for name in _SEGMENTS):
        return None
    found = _hex("ETag", headers.get("ETag", ""))
    if found is None:
        raise CorruptObject(f"the ETag {headers.get('ETag')} is not Swift's")
    return found


def of_glance(headers: Mapping[str, str]) -> Checksum | None:
    """The MD5 of an image's data, which Glance does not tell of every image."""
    return _hex("Content-MD5", headers.get("Content-MD5", ""))


def of_google(headers: Mapping[str, str], crc32c: Compute | None = None) -> Checksum | None:
    """What `x-goog-hash: crc32c=...,md5=...` tells; objects that were composed have no MD5."""
    told = dict(one.strip().partition("=")[::2] for one in headers.get(_GOOGLE, "").split(","))
    known = _base64("md5", told.get("md5", ""), md5)
    if known is None and crc32c is not None:
        return _base64("crc32c", told.get("crc32c", ""), crc32c)
    return known


def _hex(name: str, text: str) -> Checksum | None:
    found = _MD5.fullmatch(text)
    return Checksum(name, bytes.fromhex(found[1]), md5) if found else None


def _base64(name: str, text: str, compute: Compute) -> Checksum | None:
    try:
        digest = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None  # `...-2`: made of those of two parts
    return Checksum(name, digest, compute) if digest else None


_GOOGLE = "x-goog-hash"
_AMAZON: Mapping[str, Compute] = {
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
    "x-amz-checksum-sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "x-amz-checksum-crc32": lambda data: zlib.crc32(data).to_bytes(4),
}
