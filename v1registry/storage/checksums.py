"""The checksums that stores send with an object, to verify the bytes that were received.

TCP's checksum misses about one damaged packet in ten thousand, and a proxy's memory may fail. TLS
prevents only the former. Every store sends a checksum, and the drivers compare it for small objects.
A checksum of an unknown form is ignored.
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
_S3_ETAG = re.compile(r'"?[0-9a-fA-F]{32}(-[0-9]+)?"?')  # "-2": an upload of two parts
# headers about the encryption key; S3's ETag is an MD5 only for some keys
_S3_KEYS = "x-amz-server-side-encryption-customer-algorithm"
_S3_ENCRYPTION = "x-amz-server-side-encryption"
_S3_OWN = ("", "AES256")
# headers of Swift's large objects, whose ETag is computed from the ETags of the segments
_SEGMENTS = ("X-Static-Large-Object", "X-Object-Manifest")


Compute = Callable[[bytes], bytes]


class Checksum(NamedTuple):
    """A checksum; `name` is the store's name for it."""

    name: str
    digest: bytes
    compute: Compute

    def matches(self, data: bytes) -> bool:
        return self.compute(data) == self.digest


def md5(data: bytes | bytearray) -> bytes:
    """Return the MD5, which stores use as a checksum; not for security."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def hex_md5(data: bytes | bytearray) -> str:
    return md5(data).hex()


def of_s3(headers: Mapping[str, str], *, etag_is_md5: bool) -> Checksum | None:
    """Return the checksum of a whole object in S3: the one stored with the object, or its ETag.

    `headers` has lower-case names. Raise CorruptObject if the ETag has another form.
    """
    for name, compute in _AMAZON.items():
        found = _base64(name, headers.get(name, ""), compute)
        if found is not None:
            return found
    if _GOOGLE in headers:  # Google's S3-compatible interface
        return of_google(headers)
    etag = headers.get("etag", "")
    if not etag_is_md5:
        return None
    if not _S3_ETAG.fullmatch(etag):
        raise CorruptObject(f"the ETag {etag} is not an MD5 (s3_etag_is_md5)")
    plain = _S3_KEYS not in headers and headers.get(_S3_ENCRYPTION, "") in _S3_OWN
    return _hex("ETag", etag) if plain else None


def of_swift(headers: Mapping[str, str]) -> Checksum | None:
    """Return Swift's ETag; None for large objects. Raise CorruptObject if it is not an MD5."""
    if any(name in headers for name in _SEGMENTS):
        return None
    found = _hex("ETag", headers.get("ETag", ""))
    if found is None:
        raise CorruptObject(f"the ETag {headers.get('ETag')} is not an MD5, as Swift's are")
    return found


def of_glance(headers: Mapping[str, str]) -> Checksum | None:
    """Return the MD5 of an image's data; Glance does not have one for every image."""
    return _hex("Content-MD5", headers.get("Content-MD5", ""))


def of_google(headers: Mapping[str, str], crc32c: Compute | None = None) -> Checksum | None:
    """Return the checksum in `x-goog-hash: crc32c=...,md5=...`; composed objects have no MD5."""
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
        return None  # `...-2`: computed from the checksums of two parts
    return Checksum(name, digest, compute) if digest else None


_GOOGLE = "x-goog-hash"
_AMAZON: Mapping[str, Compute] = {
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
    "x-amz-checksum-sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "x-amz-checksum-crc32": lambda data: zlib.crc32(data).to_bytes(4),
}
