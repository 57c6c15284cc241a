"""Signing keys of tokens. They are in the database, so that all nodes of an index share them.

The first start of an index creates the first key. To replace it, an administrator adds a key,
configures it in the registries, and uses it. The old key verifies its tokens until it is removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from v1registry.index.database import Database
from v1registry.index.rows import Values, get, now
from v1registry.index.schema import repositories, token_keys
from v1registry.lib.auth import tokens
from v1registry.lib.auth.tokens import Issuer, Token, TokenError, Verifier
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

LIFE = 60.0  # seconds until a process reads new keys


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key, current or old; `public` as in a configuration (`lib.auth.tokens`)."""

    id: str
    public: str
    created: int
    is_signing: bool


class TokenKeys:
    """Issues and verifies tokens, with a cache of the keys."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.monotonic,
        *,
        skew: float = 0.0,
    ) -> None:
        """`skew`: seconds by which the clocks of nodes may differ."""
        self._database = database
        self._skew = skew
        self._clock = clock
        self._read_at = float("-inf")
        self._issuers: list[tuple[Issuer, Key]] = []

    def issue(self, repository: RepositoryName, access: str, user: str | None, life: int) -> str:
        """Return a token without the word `Token`; `life` is in seconds."""
        expires = int(time.time()) + life
        query = sa.select(repositories.c.made).where(repositories.c.name == str(repository))
        row = self._database.row(query)
        token = Token(repository.quoted, access, expires, user, row.made if row else "")
        return self._signing().issue(token)

    def verify(self, text: str) -> Token:
        """Return the content of a token. Raise TokenError if it is not valid."""
        try:
            return self._verifier().verify(text, time.time())
        except TokenError:
            if self._is_fresh(1.0):
                raise
        self._load()  # another node may have just added the key
        return self._verifier().verify(text, time.time())

    def all(self) -> list[Key]:
        """Return all keys, the signing one first."""
        self._load()
        return [key for _, key in self._issuers]

    def ensure(self) -> None:
        """Create the first key if there is none."""
        self._signing()

    def add(self) -> Key:
        """Add a key that does not sign yet."""
        row = _row(is_signing=False)
        self._database.change(token_keys.insert().values(row))
        return next(key for key in self.all() if key.id == row["id"])

    def use(self, key_id: str) -> None:
        """Sign with this key from now on. Raise Failure 404."""

        def work(connection: sa.Connection) -> None:
            get(connection, token_keys, "key", key_id)
            signs = token_keys.c.id == key_id
            connection.execute(token_keys.update().values(is_signing=signs))

        self._database.write(work)
        self._load()

    def remove(self, key_id: str) -> None:
        """Remove a key, so its tokens become invalid. Raise Failure 404, or 400 for the signing key."""

        def work(connection: sa.Connection) -> None:
            if get(connection, token_keys, "key", key_id).is_signing:
                raise Failure(400, f"The key {key_id} signs: use another one first")
            connection.execute(token_keys.delete().where(token_keys.c.id == key_id))

        self._database.write(work)
        self._load()

    def secret(self, purpose: str) -> bytes:
        """Return a secret for `purpose` alone. It changes with the signing key."""
        return self._signing().derive(purpose)

    def _signing(self) -> Issuer:
        if not self._is_fresh(LIFE):
            self._load()
        if not self._issuers or not self._issuers[0][1].is_signing:
            # if two nodes start at once, both use the first key
            self._database.write(_make_first)
            self._load()
        return self._issuers[0][0]

    def _verifier(self) -> Verifier:
        if not self._is_fresh(LIFE):
            self._load()
        keys = {issuer.key_id: issuer.public for issuer, _ in self._issuers}
        return Verifier(keys, self._skew)

    def _is_fresh(self, life: float) -> bool:
        return self._clock() < self._read_at + life

    def _load(self) -> None:
        query = sa.select(token_keys).order_by(
            token_keys.c.is_signing.desc(), token_keys.c.created.desc(), token_keys.c.id
        )
        asked = self._clock()
        self._issuers = [_loaded(row) for row in self._database.rows(query)]
        self._read_at = asked


def _make_first(connection: sa.Connection) -> None:
    """Create a signing key, unless there is one. PostgreSQL needs a lock for this."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE token_keys IN EXCLUSIVE MODE")
    signing = sa.select(token_keys.c.id).where(token_keys.c.is_signing == sa.true())
    if connection.execute(signing).first() is None:
        connection.execute(token_keys.insert().values(_row(is_signing=True)))


def _row(*, is_signing: bool) -> Values:
    private = tokens.new_key()
    return {
        "id": Issuer(private).key_id,
        "private": private.hex(),
        "created": now(),
        "is_signing": is_signing,
    }


def _loaded(row: Any) -> tuple[Issuer, Key]:
    issuer = Issuer(bytes.fromhex(row.private))
    public = tokens.public_text(issuer.public)
    return issuer, Key(issuer.key_id, public, row.created, row.is_signing)
