"""Bearer tokens of v2 clients, which identify a user for some minutes.

A v2 client requests `/v2/` to learn how to authenticate, and fetches a token with or without a
password. It sends the token with every later request. A client that got a token without a password is
not asked for one again. A token only says who its bearer is. For every request, the registry looks up
what the bearer may do, and whether the account has changed.

A separate index that authorizes a client issues a v1 token. The bearer token contains it, and the
registry asks the index again and again whether it is still valid. An index that issues no tokens is
asked once, so its bearer tokens have a short lifetime.

Tokens are signed with a secret in the store, so every node accepts them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from typing import Any

from v1registry.lib import documents
from v1registry.lib.auth.rights import Access, Caller, Credentials, Grant
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.support.stored_secret import StoredSecret
from v1registry.storage import Storage, keys

LIFE = 300  # seconds; clients assume 60 if a token names none
SHORT_LIFE = 60  # seconds, for a token whose rights are not looked up again

_SECRET = f"{keys.OURS}/v2-secret"
_FORM = b"v1registry bearer 1\n"  # change the number with the format
_MAX_LENGTH = 4096  # characters
_SIGNATURE = hashlib.sha256().digest_size

_log = logging.getLogger(__name__)


class Bearer:
    """Issues and reads tokens. The secret is read when it is first needed.

    `skew` is the largest difference between the clocks of nodes in seconds.
    """

    def __init__(self, storage: Storage, *, read_only: bool, skew: float = 0.0) -> None:
        self._secret = StoredSecret(storage, _SECRET, read_only=read_only)
        self._skew = skew

    def is_possible(self) -> bool:
        """Return whether there is a secret. A read-only store may have none."""
        return self._secret.get() is not None

    def issue(self, caller: Caller, now: float, state: str = "") -> str:
        """Return a token for the caller. Call it only if `is_possible`. `state` is `Rights.state`."""
        secret = self._secret.get()
        assert secret is not None
        value: dict[str, Any] = {"exp": int(now) + life(caller), "groups": sorted(caller.groups)}
        value["user"] = caller.user
        value["state"] = state
        if caller.credentials.token is not None:
            value["token"] = caller.credentials.token
        elif caller.grant is not None:
            grant = caller.grant
            value["grant"] = [str(grant.repository), grant.access.value, grant.made]
        data = documents.dump(value)
        return base64.urlsafe_b64encode(_signature(data, secret) + data).decode("ascii")

    def read(
        self, text: str, now: float, state: Callable[[Caller], str] = lambda _: ""
    ) -> Caller | None:
        """Return the token's bearer; None for a foreign or expired token. The log says why.

        `state` is `Rights.state`: a token older than a change of the account is refused. If the
        credentials contain a v1 token, only the v1 token grants access.
        """
        value = self._signed(text)
        if value is None:
            _log.info("A v2 token is refused: no registry of this store signed it")
            return None
        # Only its short lifetime ends a token with a grant.
        skew = 0.0 if "grant" in value else self._skew
        if value["exp"] + skew <= now:
            _log.info(
                "A v2 token is refused: it expired %.0f seconds ago by the clock of this machine, and"
                " clock_skew allows %.0f. If it was new, compare the clocks of all nodes (NTP)",
                now - value["exp"],
                skew,
            )
            return None
        caller = _caller(value)
        if caller is not None and value.get("state", "") != state(caller):
            _log.info("A v2 token is refused: the account has changed since it was issued")
            return None
        return caller

    def _signed(self, text: str) -> Any:
        """Return the contents of a token; None if its signature is wrong."""
        secret = self._secret.get()
        if secret is None or len(text) > _MAX_LENGTH:
            return None
        try:
            whole = base64.b64decode(text, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        signature, data = whole[:_SIGNATURE], whole[_SIGNATURE:]
        if not hmac.compare_digest(signature, _signature(data, secret)):
            return None
        return json.loads(data)


def life(caller: Caller) -> int:
    """Return the lifetime of the caller's token in seconds."""
    is_looked_up = caller.grant is None or caller.credentials.token is not None
    return LIFE if is_looked_up else SHORT_LIFE


def _caller(value: Any) -> Caller | None:
    grant = None
    if "grant" in value:
        name, access, *made = value["grant"]
        try:
            grant = Grant(RepositoryName.parse_stored(name), Access(access), *made)
        except Failure:
            return None  # a name that another version allowed
    shown = Credentials(token=value.get("token"))
    return Caller(value["user"], frozenset(value["groups"]), grant, shown)


def _signature(data: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _FORM + data, "sha256")
