"""Bearer tokens: contents, lifetime, and refused ones."""

from __future__ import annotations

import base64
import json

import pytest

from v1registry.lib.auth.bearer import LIFE, SHORT_LIFE, Bearer, life
from v1registry.lib.auth.rights import ANONYMOUS, Access, Caller, Credentials, Grant
from v1registry.lib.names import RepositoryName
from v1registry.storage.errors import Refused
from v1registry.storage.memory import MemoryStorage

NOW = 1_400_000_000.5
ALICE = Caller("alice", frozenset({"dev", "ops"}))
GRANTED = Caller("bob", grant=Grant(RepositoryName.parse("a/b/c"), Access.PULL))
KEY = "_v1registry/v2-secret"


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def bearer(storage: MemoryStorage) -> Bearer:
    return Bearer(storage, read_only=False)


@pytest.mark.parametrize("caller", [ANONYMOUS, ALICE, GRANTED, Caller('ünï / "cödé"')])
def test_every_node_reads_it(storage: MemoryStorage, bearer: Bearer, caller: Caller) -> None:
    text = bearer.issue(caller, NOW)
    assert Bearer(storage, read_only=True).read(text, NOW + life(caller) - 1) == caller


def test_a_token_that_is_not_checked_again_has_a_short_lifetime(bearer: Bearer) -> None:
    """An index that issues no token cannot be asked again."""
    text = bearer.issue(GRANTED, NOW)
    assert bearer.read(text, NOW + SHORT_LIFE - 1) == GRANTED
    assert bearer.read(text, NOW + SHORT_LIFE) is None


def test_a_bearer_token_contains_the_token_of_the_index(bearer: Bearer) -> None:
    """Only this token counts: the registry must ask the index what it grants."""
    shown = Credentials(token='signature=x,repository="a/b/c",access=read')
    text = bearer.issue(Caller("bob", grant=GRANTED.grant, credentials=shown), NOW)
    found = bearer.read(text, NOW + LIFE - 1)
    assert found is not None
    assert (found.credentials, found.grant) == (shown, None)


def test_a_bearer_token_expires(bearer: Bearer) -> None:
    text = bearer.issue(ALICE, NOW)
    assert bearer.read(text, NOW + LIFE - 1) is not None
    assert bearer.read(text, NOW + LIFE) is None


def test_a_changed_bearer_token_is_refused(bearer: Bearer) -> None:
    text = bearer.issue(ALICE, NOW)
    whole = base64.urlsafe_b64decode(text)
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        assert bearer.read(base64.urlsafe_b64encode(changed).decode(), NOW) is None
    for other in (text[:-4], text + "AAAA", text[4:], "x" + text, "", "=", "é", "a" * 100_000):
        assert bearer.read(other, NOW) is None
    forged = json.dumps({"user": "root", "groups": [], "exp": 9e12}).encode()
    assert bearer.read(base64.urlsafe_b64encode(bytes(32) + forged).decode(), NOW) is None


def test_another_store_has_another_secret(bearer: Bearer) -> None:
    other = Bearer(MemoryStorage(), read_only=False)
    assert other.read(bearer.issue(ALICE, NOW), NOW) is None
    assert other.is_possible()


def test_a_store_that_refuses_the_secret() -> None:
    assert not Bearer(MemoryStorage(), read_only=True).is_possible()
    assert Bearer(MemoryStorage(), read_only=True).read("x", NOW) is None

    class Full(MemoryStorage):
        def create(self, key: str, data: bytes) -> bool:
            raise Refused(key)

    assert not Bearer(Full(), read_only=False).is_possible()


def test_an_empty_secret_counts_as_missing(storage: MemoryStorage) -> None:
    """A broken copy of a store may contain an empty secret: no token may be signed with it."""
    storage.put(KEY, b"")
    assert not Bearer(storage, read_only=False).is_possible()
