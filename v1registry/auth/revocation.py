"""Revocation of signed tokens by the index that issued them.

The signature proves what access the index granted. Only the index knows whether the user still has
the role and the account, so the registry asks it at an interval. While the index is unavailable,
the signature is sufficient until the token expires, so that pushes and pulls continue.
"""

from __future__ import annotations

from collections import OrderedDict

from v1registry.auth.external_index_client import IndexClient
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.support.circuit_breaker import CircuitBreaker
from v1registry.lib.support.single_flight import SingleFlightCache

PAUSE = 10.0  # seconds without requests to an index that did not respond

_KEPT = 10_000  # refused tokens that are remembered
_NO_IMAGE = "0" * 64  # an image id for a short request that every token may send


class Revoked:
    """Revoked tokens. A response of the index is remembered for `remember` seconds.

    A refusal is also remembered while the index is unavailable.
    """

    def __init__(self, client: IndexClient, remember: float) -> None:
        self._client = client
        self._calls = CircuitBreaker(PAUSE)
        self._answers: SingleFlightCache[bool | None] = SingleFlightCache(remember)
        self._refused: OrderedDict[str, None] = OrderedDict()

    def is_revoked(self, digest: str, repository: RepositoryName, authorization: str) -> bool:
        """Return whether the token with this digest, sent as `authorization`, is revoked."""
        path = f"/v1/repositories/{repository.quoted}/layer/{_NO_IMAGE}/access"
        good = self._answers.get(digest, lambda: self._ask(path, authorization))
        if good is None:
            return digest in self._refused
        self._refused.pop(digest, None)
        if not good:
            self._refused[digest] = None
            if len(self._refused) > _KEPT:
                self._refused.popitem(last=False)
        return not good

    def _ask(self, path: str, authorization: str) -> bool | None:
        """Return whether the index accepts the token; None if it is unavailable."""
        ticket = self._calls.admit()
        if ticket is None:
            return None
        try:
            answer = self._client.ask(path, authorization)
        except Failure:  # the client has logged it
            self._calls.failed(ticket)
            return None
        self._calls.succeeded(ticket)
        return answer is not None
