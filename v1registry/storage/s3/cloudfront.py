"""Signed URLs of a CloudFront distribution in front of the bucket, with a short lifetime.

A URL is signed with a canned policy: until it expires, it allows any client to fetch this one object.
The library is an extra; it is imported only if a key is configured.
"""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from v1registry.storage.errors import Refused, installing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

URL_SECONDS = 60  # lifetime of a URL, as in 0.x
BEGIN = "-----BEGIN "
_PEM = re.compile(r"(-----BEGIN ([A-Z ]+)-----)(.*?)(-----END \2-----)", re.DOTALL)
_OPTION = "cloudfront.keysecret"


class CloudFront:
    """Makes signed URLs below `base`. Raise `Refused` if the key cannot be used."""

    def __init__(self, base: str, key_id: str, key: str) -> None:
        from botocore.signers import CloudFrontSigner

        self._base = base.removesuffix("/")
        self._key = _load(key)
        self._signer = CloudFrontSigner(key_id, self._sign)

    def url(self, key: str) -> str:
        """Return the URL of an object of the bucket; `key` includes the prefix."""
        expires = datetime.fromtimestamp(int(time.time()) + URL_SECONDS, UTC)
        plain = f"{self._base}/{quote(key, safe='/~')}"
        return str(self._signer.generate_presigned_url(plain, date_less_than=expires))

    def _sign(self, policy: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        # CloudFront requires SHA-1. A policy is short-lived, and no client controls its text.
        return self._key.sign(policy, PKCS1v15(), hashes.SHA1())


def _load(given: str) -> RSAPrivateKey:
    """Return the private key of a PEM text, or of the file with this path."""
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ModuleNotFoundError as error:
        raise Refused(
            f"storage: cloudfront needs {error.name}, which is not installed:"
            f" {installing('cloudfront')}"
        ) from error
    text = given if BEGIN in given else _read(given)
    try:
        key = load_pem_private_key(_lines(text).encode(), password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise Refused(f"storage: {_OPTION}: not a private key in PEM, or encrypted") from error
    if not isinstance(key, RSAPrivateKey):
        raise Refused(f"storage: {_OPTION}: CloudFront's signatures need an RSA key")
    return key


def _read(path: str) -> str:
    try:
        with open(os.path.expanduser(path), encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise Refused(f"storage: {_OPTION}: {path} cannot be read: {error}") from error


def _lines(text: str) -> str:
    """Return a PEM text with line ends: a variable may have blanks or a literal `\\n` instead."""
    found = _PEM.search(text.replace("\\n", "\n"))
    if not found:
        return text
    begin, _, body, end = found.groups()
    lines = "\n".join(body.split()) if ":" not in body else body.strip()
    return f"{begin}\n{lines}\n{end}\n"
