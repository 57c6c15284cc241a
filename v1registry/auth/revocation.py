"""Whether an index of ours takes back a token that it has signed.

The signature says what the token was given for; the index alone knows whether its bearer still has
the role, and the account. It is asked from time to time, as long as it answers. While it does not,
the signature is enough: an index that is down stops no push and no pull, and a token's life ends.
"""

from __future__ import annotations

from collections import OrderedDict

from v1registry.auth.external_index_client import IndexClient
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.lib.support.circuit_breaker import Breaker
from v1registry.lib.support.single_flight import SingleFlightCache

PAUSE = 10.0  # seconds for which an index that does not answer is left alone

_KEPT = 10_000  # refused tokens
_NO_IMAGE = "0" * 64  # whether this one may be read is a short question that any token may ask


class Revoked:
    """An answer is believed for `remember` seconds; a refusal also as long as the index is away."""

    def __init__(self, client: IndexClient, remember: float) -> None:
        self._client = client
        self._calls = Breaker(PAUSE)
        self._answers: SingleFlightCache[bool | None] = SingleFlightCache(remember)
        self._refused: OrderedDict[str, None] = OrderedDict()

    def is_so(self, digest: str, repository: RepositoryName, authorization: str) -> bool:
        """Whether the token with this digest, sent as `authorization`, counts no more."""
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
        """What the index says; None if it says nothing."""
        ticket = self._calls.admit()
        if ticket is None:
            return None
        try:
            answer = self._client.ask(path, authorization)
        except Failure:  # it is in the log
            self._calls.failed(ticket)
            return None
        self._calls.succeeded(ticket)
        return answer is not None
