"""Tokens that an index issues and a registry verifies without the index.

A token is signed, short-lived, and grants one access to one repository. Engines send it in
`X-Docker-Token` and `Authorization` without reading it (protocol-v1.md sections 2.1 and 2.2):

    signature=S,repository="ns/repo",access=read,exp=1700000000,kid=K,id=N,user="alice"

`exp` is the end of its lifetime in seconds since the epoch, `kid` names the signing key, and `user` is
absent for an anonymous client. `id` makes each token unique: a registry that asked the index about one
token must not use the answer for the next. The first half of `id` names the creation of the repository:
a new repository of the same name has another one, and old tokens are not valid for it.

The signature covers all other pairs, so no pair can be changed, omitted or added. It is Ed25519, so a
registry that verifies tokens cannot issue them. Only the configured keys are accepted, whatever key a
token names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ACCESSES = ("read", "write", "delete")
LARGEST = 2048  # characters of a token; the registry's own have about 250

_FORM = b"v1registry token 1\n"  # change the number with the format
_WORD = re.compile(r"token\s+", re.IGNORECASE)
_PAIR = re.compile(r'[ \t]*([a-z]+)[ \t]*=[ \t]*(?:"([^",=\s]*)"|([^",=\s]+))[ \t]*(?:,|$)')
_VALUE = re.compile(r"[!#-+\--<>-~]{1,255}")  # printable ASCII without blank, quote, comma, =
_SECONDS = re.compile(r"[0-9]{1,12}")
_KEY_SIZE = 32
_HALF = 6  # characters of `id` that name the creation of the repository


class TokenError(ValueError):
    """An invalid token. The text says why and does not quote the token."""


class Expired(TokenError):
    """A token that has expired by the clock of this machine."""

    def __init__(self, token: Token, now: float, skew: float) -> None:
        super().__init__("the token has expired")
        self.token = token
        self.late = now - token.expires
        self.skew = skew


def refused(error: TokenError) -> str:
    """Return for the log why a token is refused and what to do; it discloses no usable part."""
    if not isinstance(error, Expired):
        return f"A token is refused: {error}"
    token = error.token
    return (
        f"A token to {token.access} {token.repository} is refused: it expired {error.late:.0f} seconds"
        f" ago by the clock of this machine, and clock_skew allows {error.skew:.0f}. If it was new,"
        " compare this clock with that of the index (NTP); if the push or pull took longer than"
        " index.token_life, make that longer"
    )


@dataclass(frozen=True, slots=True)
class Token:
    """The contents of a token: `access` to one repository, `ns/repo`, until `expires` (epoch seconds).

    `made` is the `new_creation` of the repository, or random.
    """

    repository: str
    access: str
    expires: int
    user: str | None = None
    made: str = field(default="", compare=False)


class Issuer:
    """Signs tokens with one private key, 32 raw bytes."""

    def __init__(self, private: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.public = self._key.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)

    def issue(self, token: Token) -> str:
        """Return the text for `X-Docker-Token`, without a leading word."""
        pairs = {"repository": token.repository, "access": token.access, "exp": str(token.expires)}
        pairs["kid"] = self.key_id
        pairs["id"] = (token.made or new_creation()) + new_creation()
        if token.user is not None:
            pairs["user"] = token.user
        if token.access not in ACCESSES or not all(map(_VALUE.fullmatch, pairs.values())):
            raise ValueError(f"a token cannot contain these values: {pairs}")
        signature = _encode(self._key.sign(_signed(pairs)))
        quoted = {"repository", "user"}
        rest = [f'{k}="{v}"' if k in quoted else f"{k}={v}" for k, v in pairs.items()]
        return ",".join([f"signature={signature}", *rest])

    def derive(self, purpose: str) -> bytes:
        """Return a secret that only this key yields, for `purpose` alone. Ed25519 is deterministic."""
        return hashlib.sha256(self._key.sign(b"v1registry secret\n" + purpose.encode())).digest()


class Verifier:
    """Verifies tokens with public keys: key id to 32 raw bytes.

    `skew` is the number of seconds by which this clock may be ahead of the issuer's.
    """

    def __init__(self, keys: Mapping[str, bytes], skew: float = 0.0) -> None:
        self._keys = {name: _public(key) for name, key in keys.items()}
        self._skew = skew

    @property
    def key_ids(self) -> frozenset[str]:
        return frozenset(self._keys)

    def verify(self, text: str, now: float) -> Token:
        """Return the contents of a token; `text` is the value of `Authorization`.

        Raise TokenError unless the token is complete, unchanged, not expired and of a known key.
        """
        from cryptography.exceptions import InvalidSignature

        pairs = parse(text)
        key = self._keys.get(pairs.get("kid", ""))
        if key is None:
            raise TokenError("its signing key is not known here")
        signature = _decode(pairs.pop("signature", ""))
        try:
            key.verify(signature, _signed(pairs))
        except InvalidSignature:
            raise TokenError("the signature is wrong") from None
        token = _token(pairs)
        if token.expires + self._skew <= now:
            raise Expired(token, now, self._skew)
        return token


def parse(text: str) -> dict[str, str]:
    """Return the pairs of a token without quotes and leading words. Raise TokenError if malformed.

    A duplicate name is malformed: two readers might use different values.
    """
    if len(text) > LARGEST or not text.isascii():
        raise TokenError("malformed")
    rest = without_word(without_word(text.strip()))  # engines prepend the word even if it is there
    pairs = read_pairs(rest, _PAIR)
    if not pairs or rest.endswith(","):
        raise TokenError("malformed")
    return pairs


def without_word(text: str) -> str:
    """Return the text of a token without one leading word `Token`."""
    match = _WORD.match(text)
    return text[match.end() :] if match else text


def read_pairs(text: str, pair: re.Pattern[str]) -> dict[str, str] | None:
    """Return the pairs of a token, by a pattern for a name and a quoted or an unquoted value.

    Return None if a pair is malformed or a name is repeated: two readers might use different values.
    """
    pairs: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = pair.match(text, position)
        if match is None or match[1].lower() in pairs:
            return None
        pairs[match[1].lower()] = match[3].strip() if match[2] is None else match[2]
        position = match.end()
    return pairs


def new_creation() -> str:
    """Return a random name for the creation of a repository."""
    return secrets.token_urlsafe(_HALF)[:_HALF]


def new_key() -> bytes:
    """Return a new private key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes_raw()


def key_id(public: bytes) -> str:
    """Return the id of a key, derived from the key, so that two keys never share one."""
    return hashlib.sha256(public).hexdigest()[:16]


def public_text(public: bytes) -> str:
    """Return a public key as text, as in a configuration and in the index's answer."""
    return _encode(public)


def parse_public(text: str) -> bytes:
    """Return the key that `public_text` wrote; raise ValueError for any other text."""
    try:
        key = _decode(text)
    except TokenError:
        key = b""
    if len(key) != _KEY_SIZE:
        raise ValueError("must be a public key as `v1registry index key list` shows it")
    return key


def _signed(pairs: Mapping[str, str]) -> bytes:
    lines = [f"{name}={value}" for name, value in sorted(pairs.items()) if name != "signature"]
    return _FORM + "\n".join(lines).encode("utf-8")


def _token(pairs: Mapping[str, str]) -> Token:
    repository, access, expires = (pairs.get(name, "") for name in ("repository", "access", "exp"))
    if not repository or access not in ACCESSES or not _SECONDS.fullmatch(expires):
        raise TokenError("this version does not understand its contents")
    return Token(repository, access, int(expires), pairs.get("user"), pairs.get("id", "")[:_HALF])


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    """Undo `_encode`; raise TokenError for any other spelling of the same bytes."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise TokenError("malformed") from None
    if _encode(data) != text:
        raise TokenError("malformed")
    return data


def _public(key: bytes) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(key)
