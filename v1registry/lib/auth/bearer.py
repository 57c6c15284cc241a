"""Bearer tokens of v2: who asks, found out once and believed for some minutes.

Today's clients ask `/v2/` what is wanted of them, fetch a token with or without a password, and show
it from then on; one that was let in without is not told that it could show more. A token says who its
bearer is; what the bearer may do, and whether the account is as it was, is looked up for every request.

Who was let in by an index that is asked has a v1 token of it in the bearer token: the index is asked
again and again whether that counts. An index that gives no tokens is asked once, so the bearer token
lives for a short time.

It is signed with a secret that lies in the store, so every node takes it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Callable
from typing import Any

from v1registry.lib import documents
from v1registry.lib.auth.rights import Access, Caller, Credentials, Grant
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound, Refused

LIFE = 300  # seconds; clients take 60 where none are named
SHORT_LIFE = 60  # of a token whose rights are not looked up again

_SECRET = f"{keys.OURS}/v2-secret"
_FORM = b"v1registry bearer 1\n"  # another form of the token gets another number
_LARGEST = 4096  # characters
_SIGNATURE = hashlib.sha256().digest_size

_log = logging.getLogger(__name__)


class Bearer:
    """Issues and reads tokens. The secret is looked for when it is needed first.

    `skew` are the seconds by which the clocks of nodes may differ.
    """

    def __init__(self, storage: Storage, *, read_only: bool, skew: float = 0.0) -> None:
        self._storage = storage
        self._read_only = read_only
        self._skew = skew
        self._secret: bytes | None = None

    def is_possible(self) -> bool:
        """Whether there is a secret: not in a store that has none and may not be written."""
        return self._found() is not None

    def issue(self, asker: Caller, now: float, state: str = "") -> str:
        """A token for who was identified. Only if `is_possible`. `state` is `Rights.state`."""
        secret = self._found()
        assert secret is not None
        value: dict[str, Any] = {"exp": int(now) + life(asker), "groups": sorted(asker.groups)}
        value["user"] = asker.user
        value["state"] = state
        if asker.credentials.token is not None:
            value["token"] = asker.credentials.token
        elif asker.grant is not None:
            grant = asker.grant
            value["grant"] = [str(grant.repository), grant.access.value, grant.made]
        data = documents.dump(value)
        return base64.urlsafe_b64encode(_signature(data, secret) + data).decode("ascii")

    def read(
        self, text: str, now: float, state: Callable[[Caller], str] = lambda _: ""
    ) -> Caller | None:
        """Who shows this token; None if it is none of ours, or too old. The log says why.

        `state` is `Rights.state`: a token from before a change of the account does not count. If
        the credentials hold a v1 token, only what that token says counts.
        """
        value = self._signed(text)
        if value is None:
            _log.info("A v2 token is refused: no registry of this store has signed it")
            return None
        # Nothing but its short life ends a token with a grant.
        skew = 0.0 if "grant" in value else self._skew
        if value["exp"] + skew <= now:
            _log.info(
                "A v2 token is refused: it expired %.0f seconds ago by the clock of this machine, and"
                " clock_skew allows %.0f. If it was new, compare the clocks of all nodes (NTP)",
                now - value["exp"],
                skew,
            )
            return None
        asker = _asker(value)
        if asker is not None and value.get("state", "") != state(asker):
            _log.info("A v2 token is refused: the account has changed since it was issued")
            return None
        return asker

    def _signed(self, text: str) -> Any:
        """What a token says; None if it is none of ours."""
        secret = self._found()
        if secret is None or len(text) > _LARGEST:
            return None
        try:
            whole = base64.b64decode(text, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        signature, data = whole[:_SIGNATURE], whole[_SIGNATURE:]
        if not hmac.compare_digest(signature, _signature(data, secret)):
            return None
        return json.loads(data)

    def _found(self) -> bytes | None:
        if self._secret is None:
            self._secret = self._stored() or self._made()
        return self._secret

    def _stored(self) -> bytes | None:
        try:
            return self._storage.get(_SECRET) or None
        except NotFound:
            return None

    def _made(self) -> bytes | None:
        if self._read_only:
            return None
        try:
            # where a store lets two create it, one of them takes the other's at its next start
            self._storage.create(_SECRET, secrets.token_hex(32).encode("ascii"))
        except Refused:
            return None
        return self._stored()


def life(asker: Caller) -> int:
    """Seconds for which a token of the asker counts."""
    is_looked_up = asker.grant is None or asker.credentials.token is not None
    return LIFE if is_looked_up else SHORT_LIFE


def _asker(value: Any) -> Caller | None:
    grant = None
    if "grant" in value:
        name, access, *made = value["grant"]
        try:
            grant = Grant(RepositoryName.parse_stored(name), Access(access), *made)
        except Failure:
            return None  # another version's name
    shown = Credentials(token=value.get("token"))
    return Caller(value["user"], frozenset(value["groups"]), grant, shown)


def _signature(data: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _FORM + data, "sha256")
