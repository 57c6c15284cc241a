"""Complete images in the shared cache.

Other programs may write to Redis as well: another version of the registry, a registry with another
store, or an attacker. So each value is signed with a secret of the store and names its image. A value
that does not match counts as absent and is written anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
from typing import Any

from v1registry.lib import documents
from v1registry.lib.images.images import Image
from v1registry.lib.names import ImageId
from v1registry.lib.support import stored_secret
from v1registry.lib.support.cache import SharedCache
from v1registry.storage import Storage, keys
from v1registry.storage.errors import ReadOnly, StorageError

_FORM = b"v1registry image 1\n"  # change the number with the format
_SIGNATURE = hashlib.sha256().digest_size
_SECRET_KEY = f"{keys.OURS}/cache-secret"

_log = logging.getLogger(__name__)


class SharedImages:
    """Implements `lib.support.cache.Shared` for images; `secret` is the result of `secret_of`."""

    def __init__(self, cache: SharedCache, secret: bytes) -> None:
        self._cache = cache
        self._secret = secret
        self._has_warned = False

    def get(self, key: str) -> Image | None:
        data = self._cache.get(_key(key))
        if data is None:
            return None
        image = load(data, self._secret)
        if image is not None and image.id == key:
            return image
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "The shared cache has an unsigned value under %s: it is ignored", _key(key)
            )
        return None

    def put(self, key: str, value: Image) -> None:
        self._cache.put(_key(key), dump(value, self._secret))


def dump(image: Image, secret: bytes) -> bytes:
    """Return format, signature of the rest, one line of JSON with the lengths, ancestry, JSON."""
    fields = {
        "id": image.id,
        "checksums": image.checksums,
        "size": image.size,
        "ancestry": len(image.ancestry),
        "json": len(image.json),
    }
    signed = b"".join((documents.dump(fields), b"\n", image.ancestry, image.json))
    return b"".join((_FORM, _signature(signed, secret), signed))


def load(data: bytes, secret: bytes) -> Image | None:
    """Return the image that `dump` encoded; None for any other value."""
    signed = data[len(_FORM) + _SIGNATURE :]
    given = data[len(_FORM) : len(_FORM) + _SIGNATURE]
    if not data.startswith(_FORM) or not hmac.compare_digest(given, _signature(signed, secret)):
        return None
    line, _, rest = signed.partition(b"\n")
    try:
        fields: Any = json.loads(line)
        ancestry, document = rest[: fields["ancestry"]], rest[fields["ancestry"] :]
        if len(document) != fields["json"] or not _is_sane(fields, json.loads(ancestry)):
            return None
        checksums = tuple(fields["checksums"])
        return Image(ImageId(fields["id"]), document, ancestry, checksums, fields["size"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def secret_of(storage: Storage, place: str, *, read_only: bool) -> bytes:
    """Return the secret of this store at this place, the same for all nodes that serve it.

    `place` names driver and root: a copy of the store elsewhere has the same secret but other images.
    For a read-only store without a secret, the result depends on the place alone. Raise StorageError.
    """
    try:
        found = stored_secret.find(storage, _SECRET_KEY)
    except StorageError:
        if not read_only:
            raise
        found = None
    if found is None and not read_only:
        with contextlib.suppress(ReadOnly):  # an administrator made the store read-only
            found = stored_secret.create(storage, _SECRET_KEY)
    return hashlib.sha256(documents.dump([place, (found or b"").decode("latin-1")])).digest()


def name_of(secret: bytes) -> str:
    """Return a short name that differs between stores and does not disclose the secret."""
    return hmac.new(secret, b"name", hashlib.sha256).hexdigest()[:16]


def _is_sane(fields: Any, ancestors: Any) -> bool:
    size, checksums = fields["size"], fields["checksums"]
    return (
        all(ImageId.is_valid(id) for id in [fields["id"], *ancestors])
        and (size is None or (type(size) is int and size >= 0))
        and isinstance(checksums, list)
        and all(isinstance(sum, str) and sum.isprintable() for sum in checksums)
    )


def _signature(data: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, data, "sha256")


def _key(image_id: str) -> str:
    return f"image:{image_id}"
