"""URLs of a CloudFront distribution in front of the bucket, signed for a short time.

Signed with a canned policy: whoever has the URL may fetch this one object until it expires. The
library is an extra, imported when a key is given.
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

URL_SECONDS = 60  # for which a URL counts, as in 0.x
BEGIN = "-----BEGIN "
_PEM = re.compile(r"(-----BEGIN ([A-Z ]+)-----)(.*?)(-----END \2-----)", re.DOTALL)
_OPTION = "cloudfront.keysecret"


class CloudFront:
    """Makes URLs below `base`. Raise `Refused` if the key cannot be used."""

    def __init__(self, base: str, key_id: str, key: str) -> None:
        from botocore.signers import CloudFrontSigner

        self._base = base.removesuffix("/")
        self._key = _load(key)
        self._signer = CloudFrontSigner(key_id, self._sign)

    def url(self, key: str) -> str:
        """The URL of an object of the bucket, by its whole key."""
        expires = datetime.fromtimestamp(int(time.time()) + URL_SECONDS, UTC)
        plain = f"{self._base}/{quote(key, safe='/~')}"
        return str(self._signer.generate_presigned_url(plain, date_less_than=expires))

    def _sign(self, policy: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        # What CloudFront asks for; a policy is short-lived and none of its text is a stranger's.
        return self._key.sign(policy, PKCS1v15(), hashes.SHA1())


def _load(given: str) -> RSAPrivateKey:
    """The private key that a PEM text, or the file that it names, holds."""
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
    """A PEM text in lines: a variable may hold them folded with blanks, or `\\n` in letters."""
    found = _PEM.search(text.replace("\\n", "\n"))
    if not found:
        return text
    begin, _, body, end = found.groups()
    lines = "\n".join(body.split()) if ":" not in body else body.strip()
    return f"{begin}\n{lines}\n{end}\n"
