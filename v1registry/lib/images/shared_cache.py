"""Finished images in a cache that nodes share.

Redis is not ours alone: it may hold what another version, another store or
somebody with bad intent wrote under our key. So each value is signed with a
secret that lies in the store, and says of which image it is; a value that does
not fit is taken for absent, and written anew.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
from typing import Any

from v1registry.lib import documents
from v1registry.lib.images.images import Image
from v1registry.lib.names import ImageId
from v1registry.lib.support.cache import SharedCache
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, StorageError

_FORM = b"v1registry image 1\n"  # another form of the value gets another number
_SIGNATURE = hashlib.sha256().digest_size
_SECRET_KEY = f"{keys.OURS}/cache-secret"

_log = logging.getLogger(__name__)


class SharedImages:
    """Implements `lib.cache.Shared` for images; `secret` is what `secret_of` returns."""

    def __init__(self, level: SharedCache, secret: bytes) -> None:
        self._level = level
        self._secret = secret
        self._told = False

    def get(self, key: str) -> Image | None:
        data = self._level.get(_key(key))
        if data is None:
            return None
        image = load(data, self._secret)
        if image is not None and image.id == key:
            return image
        if not self._told:
            self._told = True
            _log.warning("The shared cache holds what is not ours under %s: ignored", _key(key))
        return None

    def put(self, key: str, value: Image) -> None:
        self._level.put(_key(key), dump(value, self._secret))


def dump(image: Image, secret: bytes) -> bytes:
    """The form, the signature of all that follows, facts as one line of JSON, ancestry, JSON."""
    facts = {
        "id": image.id,
        "checksums": image.checksums,
        "size": image.size,
        "ancestry": len(image.ancestry),
        "json": len(image.json),
    }
    signed = b"".join((documents.dump(facts), b"\n", image.ancestry, image.json))
    return b"".join((_FORM, _signature(signed, secret), signed))


def load(data: bytes, secret: bytes) -> Image | None:
    """The image that `dump` made this of; None for anything else."""
    signed = data[len(_FORM) + _SIGNATURE :]
    given = data[len(_FORM) : len(_FORM) + _SIGNATURE]
    if not data.startswith(_FORM) or not hmac.compare_digest(given, _signature(signed, secret)):
        return None
    line, _, rest = signed.partition(b"\n")
    try:
        facts: Any = json.loads(line)
        ancestry, document = rest[: facts["ancestry"]], rest[facts["ancestry"] :]
        if len(document) != facts["json"] or not _is_sane(facts, json.loads(ancestry)):
            return None
        checksums = tuple(facts["checksums"])
        return Image(ImageId(facts["id"]), document, ancestry, checksums, facts["size"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def secret_of(storage: Storage, place: str, *, read_only: bool) -> bytes:
    """A secret of this store in this place, the same for all nodes that serve it from there.

    `place` names driver and root: a copy of the store elsewhere holds the same
    secret, and yet other images. A store that we may not write and that has no
    secret yet is told apart by its place alone. Raises StorageError.
    """
    try:
        found = storage.get(_SECRET_KEY)
    except NotFound:
        found = b"" if read_only else _new_secret(storage)
    except StorageError:
        if not read_only:
            raise
        found = b""
    return hashlib.sha256(documents.dump([place, found.decode("latin-1")])).digest()


def _new_secret(storage: Storage) -> bytes:
    # Where two create it at once and the store lets both, one of them shares nothing until it is
    # restarted: that is all.
    storage.create(_SECRET_KEY, secrets.token_hex(32).encode())
    return storage.get(_SECRET_KEY)


def name_of(secret: bytes) -> str:
    """A short name that tells stores apart and discloses nothing of the secret."""
    return hmac.new(secret, b"name", hashlib.sha256).hexdigest()[:16]


def _is_sane(facts: Any, ancestors: Any) -> bool:
    size, checksums = facts["size"], facts["checksums"]
    return (
        all(ImageId.is_valid(id) for id in [facts["id"], *ancestors])
        and (size is None or (type(size) is int and size >= 0))
        and isinstance(checksums, list)
        and all(isinstance(sum, str) and sum.isprintable() for sum in checksums)
    )


def _signature(data: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, data, "sha256")


def _key(image_id: str) -> str:
    return f"image:{image_id}"
