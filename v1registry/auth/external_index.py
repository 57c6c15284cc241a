"""Rights of a registry that trusts an index: a client may do what its token says.

See protocol-v1.md section 2.2. The registry validates a token by a request to the index with this
token. If the public key of an index that runs v1registry is configured, the registry verifies the
token's signature instead. If the index is configured too, it may revoke tokens (see `revocation`).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from v1registry.auth.external_index_client import IndexClient
from v1registry.auth.revocation import Revoked
from v1registry.lib import errors
from v1registry.lib.auth import tokens
from v1registry.lib.auth.rights import ANONYMOUS, Access, Caller, Credentials, Grant, Rights
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.support.single_flight import SingleFlightCache

ACCESSES = {"read": Access.PULL, "write": Access.PUSH, "delete": Access.DELETE}

_FRESH = 1.0  # seconds before an image list without an expected image is requested again

_log = logging.getLogger(__name__)

#: Receives the image list of a repository when a client is about to push to it.
Listed = Callable[[RepositoryName, list[str]], None]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The response of the index to a token: the image ids of the repository, and the time."""

    ids: frozenset[str]
    asked: float


class ExternalIndexRights(Rights):
    """Validates tokens by `client`, or by `verifier` if it knows the key. One of them may be None.

    A response of the index is remembered for `remember` seconds, under an HMAC of the token with a
    key of this process. While the index is unavailable, only signed tokens are valid.
    """

    challenge = "Token"
    parent_refused = errors.PARENT_UNAUTHORIZED

    def __init__(
        self,
        client: IndexClient | None,
        verifier: tokens.Verifier | None,
        *,
        remember: float,
        listed: Listed,
    ) -> None:
        self._client = client
        self._verifier = verifier
        self._listed = listed
        self._secret = secrets.token_bytes(32)
        self._confirmed: SingleFlightCache[Confirmed] = SingleFlightCache(remember)
        self._image_answers: SingleFlightCache[bool] = SingleFlightCache(remember)
        self._believed: SingleFlightCache[bool] = SingleFlightCache(remember)
        self._revoked = Revoked(client, remember) if client is not None else None

    def identify(self, credentials: Credentials, address: str) -> Caller:
        if credentials.token is None:
            return ANONYMOUS
        if self._is_ours(credentials):
            return self._verified(credentials)
        grant = _grant(credentials.pair("repository"), credentials.pair("access"))
        if grant is None or self._client is None:
            raise self.refusal(ANONYMOUS)
        self._confirm(self._client, credentials, grant)
        return Caller(grant=grant, credentials=credentials)

    def of_v2(
        self, credentials: Credentials, address: str, repository: RepositoryName | None
    ) -> Caller:
        """Identify a v2 client, which has no token, by a request to the index with its password.

        Without a repository, the request checks only the account.
        """
        client = self._client
        if credentials.token is not None or client is None:
            return self.identify(credentials, address)
        path = "/v1/users/" if repository is None else f"/v1/repositories/{repository}/images"
        if repository is None and credentials.user is None:
            return ANONYMOUS

        def ask() -> bool:
            return client.ask(path, credentials.header or "") is not None

        if not self._believed.get(f"{self._digest(credentials)} {path}", ask):
            raise self.refusal(ANONYMOUS)
        grant = None if repository is None else Grant(repository, Access.PULL)
        return Caller(credentials.user, grant=grant)

    def for_bearer(
        self, credentials: Credentials, address: str, repository: RepositoryName | None
    ) -> Caller:
        """Identify the client for a bearer token, with a token of the index that it can revoke."""
        client = self._client
        if credentials.token is not None or client is None or repository is None:
            return self.of_v2(credentials, address, repository)
        path = f"/v1/repositories/{repository.quoted}/images"
        found, token = client.ask_for_token(path, credentials.header or "")
        if found is None:
            raise self.refusal(ANONYMOUS)
        grant = Grant(repository, Access.PULL)
        shown = Credentials(token=token) if _grants(token, grant) else Credentials()
        return Caller(credentials.user, grant=grant, credentials=shown)

    def may(self, caller: Caller, repository: RepositoryName | None, access: Access) -> bool:
        grant = caller.grant
        if grant is None or grant.access is not access:
            return False
        return repository is None or repository == grant.repository

    def expects(self, caller: Caller, image_id: ImageId) -> bool:
        """Return whether the image list of the index has the image.

        The list is requested again if it has not, because it may have changed since. A token that
        the registry verifies by its signature allows every image of the repository.
        """
        client, credentials, grant = self._client, caller.credentials, caller.grant
        if grant is None or client is None or self._is_ours(credentials):
            return grant is not None
        found = self._confirm(client, credentials, grant)
        if image_id not in found.ids and time.monotonic() > found.asked + _FRESH:
            self._confirmed.forget(self._digest(credentials))
            found = self._confirm(client, credentials, grant)
        return image_id in found.ids

    def index_allows(self, caller: Caller, image_id: ImageId) -> bool:
        """Return whether the index allows the image by `layer/ID/access`.

        The user may be able to pull the image from another repository.
        """
        client, grant = self._client, caller.grant
        if client is None or grant is None:
            return False
        path = f"/v1/repositories/{grant.repository.quoted}/layer/{image_id}/access"
        authorization = caller.credentials.header or ""

        def ask() -> bool:
            answer = client.ask(path, authorization)
            return isinstance(answer, dict) and answer.get("access") is True

        return self._image_answers.get(f"{self._digest(caller.credentials)} {image_id}", ask)

    def refusal(self, caller: Caller) -> Failure:
        """Return Failure 401 in every case, because another token may be sufficient."""
        return Failure(*errors.UNAUTHORIZED, {"WWW-Authenticate": self.challenge})

    # -- one token ----------------------------------------------------------------

    def _is_ours(self, credentials: Credentials) -> bool:
        return self._verifier is not None and credentials.pair("kid") in self._verifier.key_ids

    def _verified(self, credentials: Credentials) -> Caller:
        assert self._verifier is not None
        try:
            token = self._verifier.verify(credentials.token or "", time.time())
        except tokens.TokenError as error:
            _log.warning("%s", tokens.refused(error))
            raise self.refusal(ANONYMOUS) from None
        grant = _grant(token.repository, token.access)
        if grant is None:
            raise self.refusal(ANONYMOUS)
        if self._revoked is not None and self._revoked.is_revoked(
            self._digest(credentials), grant.repository, credentials.header or ""
        ):
            raise self.refusal(ANONYMOUS)
        return Caller(user=token.user, grant=grant, credentials=credentials)

    def _confirm(self, client: IndexClient, credentials: Credentials, grant: Grant) -> Confirmed:
        """Return the response of the index to the token. Raise Failure 401 or 503."""
        path = f"/v1/repositories/{grant.repository.quoted}/images"

        def ask() -> Confirmed:
            asked = time.monotonic()
            ids = client.ask(path, credentials.header or "", _ids)
            if ids is None:
                raise self.refusal(ANONYMOUS)
            if grant.access is Access.PUSH:
                self._listed(grant.repository, ids)
            return Confirmed(frozenset(ids), asked)

        return self._confirmed.get(self._digest(credentials), ask, keep=lambda _: True)

    def _digest(self, credentials: Credentials) -> str:
        header = (credentials.header or "").encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, header, hashlib.sha256).hexdigest()


def _grant(repository: str | None, access: str | None) -> Grant | None:
    """Return the grant of a token; None for an illegal repository name or an unknown access."""
    if repository is None or access not in ACCESSES:
        return None
    try:
        return Grant(RepositoryName.parse_quoted(repository), ACCESSES[access])
    except Failure:
        return None


def _grants(token: str, grant: Grant) -> bool:
    """Return whether the text of a token names this grant."""
    try:
        pairs = tokens.parse(token)
    except tokens.TokenError:
        return False
    return _grant(pairs.get("repository"), pairs.get("access")) == grant


def _ids(answer: Any) -> list[str]:
    """Return the image ids of the index's response. Raise ValueError if it is not an image list."""
    if not isinstance(answer, list) or not all(
        isinstance(item, dict) and isinstance(item.get("id"), str) for item in answer
    ):
        raise ValueError("its response is not an image list")
    return list(dict.fromkeys(item["id"] for item in answer if ImageId.is_valid(item["id"])))
