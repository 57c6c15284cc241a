"""Tokens that an index gives and a registry can check alone: signed, short-lived, for one thing.

A token is what engines carry in `X-Docker-Token` and `Authorization` without looking into it
(protocol-v1.md sections 2.1 and 2.2):

    signature=S,repository="ns/repo",access=read,exp=1700000000,kid=K,id=N,user="alice"

`exp` is the end of its life in seconds since the epoch, `kid` names the key, `user` is absent for
somebody without an account. `id` makes each token another one: a registry that asked about one must
not take what it heard for an answer about the next. Its first half names the creation of the
repository: a new repository of the same name has another one, and old tokens do not count for it. The signature (Ed25519, so that who checks cannot issue) covers every
other pair: nothing can be changed, left out or added. Only keys that the checker was given count,
whatever name a token bears.
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
LARGEST = 2048  # characters of a token; ours have some 250

_FORM = b"v1registry token 1\n"  # another form of what is signed gets another number
_WORD = re.compile(r"token\s+", re.IGNORECASE)
_PAIR = re.compile(r'[ \t]*([a-z]+)[ \t]*=[ \t]*(?:"([^",=\s]*)"|([^",=\s]+))[ \t]*(?:,|$)')
_VALUE = re.compile(r"[!#-+\--<>-~]{1,255}")  # printable ASCII without blank, quote, comma, =
_SECONDS = re.compile(r"[0-9]{1,12}")
_KEY_SIZE = 32
_HALF = 6  # characters of `id` that name a creation


class TokenError(ValueError):
    """A token that does not count. The text says why, and quotes nothing of the token."""


class Expired(TokenError):
    """A token whose life is over by this machine's clock."""

    def __init__(self, token: Token, now: float, skew: float) -> None:
        super().__init__("the token has expired")
        self.token = token
        self.late = now - token.expires
        self.skew = skew


def refused(error: TokenError) -> str:
    """Say for the log why a token does not count, and what to do; nothing of it can be used."""
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
    """What a token grants: `access` to one repository, `ns/repo`, until `expires` (epoch seconds).

    `made` is a `new_creation` of the repository; in tokens without one it is random.
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
        """The text for `X-Docker-Token`, without a leading word."""
        pairs = {"repository": token.repository, "access": token.access, "exp": str(token.expires)}
        pairs["kid"] = self.key_id
        pairs["id"] = (token.made or new_creation()) + new_creation()
        if token.user is not None:
            pairs["user"] = token.user
        if token.access not in ACCESSES or not all(map(_VALUE.fullmatch, pairs.values())):
            raise ValueError(f"not what a token can say: {pairs}")
        signature = _encode(self._key.sign(_signed(pairs)))
        quoted = {"repository", "user"}
        rest = [f'{k}="{v}"' if k in quoted else f"{k}={v}" for k, v in pairs.items()]
        return ",".join([f"signature={signature}", *rest])


class Verifier:
    """Checks tokens against public keys: key id to 32 raw bytes.

    `skew` are the seconds by which this clock may be ahead of the issuer's.
    """

    def __init__(self, keys: Mapping[str, bytes], skew: float = 0.0) -> None:
        self._keys = {name: _public(key) for name, key in keys.items()}
        self._skew = skew

    @property
    def key_ids(self) -> frozenset[str]:
        return frozenset(self._keys)

    def verify(self, text: str, now: float) -> Token:
        """What the token grants; `text` as it stands in `Authorization`, leading words or not.

        Raise TokenError for any but a whole, unchanged and living token of a known key.
        """
        from cryptography.exceptions import InvalidSignature

        pairs = parse(text)
        key = self._keys.get(pairs.get("kid", ""))
        if key is None:
            raise TokenError("signed with no key that is known here")
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
    """The pairs of a token, quotes and leading words taken off. Raise TokenError if malformed.

    A name that stands there twice is malformed: two readers might see two tokens.
    """
    if len(text) > LARGEST or not text.isascii():
        raise TokenError("malformed")
    rest = text.strip()
    for _ in range(2):  # engines prepend the word to what may have it already
        rest = _WORD.sub("", rest, count=1) if _WORD.match(rest) else rest
    pairs: dict[str, str] = {}
    position = 0
    while position < len(rest):
        match = _PAIR.match(rest, position)
        if match is None or match[1] in pairs or (rest.endswith(",") and match.end() == len(rest)):
            raise TokenError("malformed")
        pairs[match[1]] = match[3] if match[2] is None else match[2]
        position = match.end()
    if not pairs:
        raise TokenError("malformed")
    return pairs


def new_creation() -> str:
    """A random name for the creation of a repository."""
    return secrets.token_urlsafe(_HALF)[:_HALF]


def new_key() -> bytes:
    """A new private key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes_raw()


def key_id(public: bytes) -> str:
    """The name of a key: made from itself, so that two keys never share one."""
    return hashlib.sha256(public).hexdigest()[:16]


def public_text(public: bytes) -> str:
    """A public key as it stands in a configuration and in the index's answer."""
    return _encode(public)


def parse_public(text: str) -> bytes:
    """The key that `public_text` wrote; raise ValueError for anything else."""
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
        raise TokenError("says nothing that this version understands")
    return Token(repository, access, int(expires), pairs.get("user"), pairs.get("id", "")[:_HALF])


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    """Undo `_encode`, and take no other spelling of the same bytes."""
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
