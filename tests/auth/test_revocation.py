"""Revocation of signed tokens by the index."""

from __future__ import annotations

import pytest

from tests.rights import fakeindex
from tests.rights.fakeindex import FakeIndex
from v1registry.auth import revocation
from v1registry.auth.external_index_client import IndexClient
from v1registry.auth.revocation import Revoked
from v1registry.lib.names import RepositoryName

APP = RepositoryName("team", "app")


def is_revoked(revoked: Revoked, token: str) -> bool:
    return revoked.is_revoked(f"digest of {token}", APP, f"Token {token}")


def test_the_index_decides(index: FakeIndex, client: IndexClient) -> None:
    revoked = Revoked(client, remember=60)
    valid = index.token("team/app", "read")
    assert not is_revoked(revoked, valid)
    assert is_revoked(revoked, "signature=other")
    path = index.requests[0][0]
    assert path == f"/v1/repositories/team/app/layer/{'0' * 64}/access"


def test_an_accepted_token_is_remembered(index: FakeIndex, client: IndexClient) -> None:
    revoked = Revoked(client, remember=60)
    token = index.token("team/app", "read")
    assert not is_revoked(revoked, token)
    del index.tokens[token]
    assert not is_revoked(revoked, token)
    assert len(index.requests) == 1


def test_after_the_time_the_index_is_asked_again(index: FakeIndex, client: IndexClient) -> None:
    revoked = Revoked(client, remember=0)
    token = index.token("team/app", "read")
    assert not is_revoked(revoked, token)
    repository = index.tokens.pop(token)
    assert is_revoked(revoked, token)
    index.tokens[token] = repository
    assert not is_revoked(revoked, token)


def test_while_the_index_is_unavailable(
    index: FakeIndex, client: IndexClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoked tokens stay revoked, other tokens are valid, and the index gets one request."""
    revoked = Revoked(client, remember=0)
    assert is_revoked(revoked, "signature=revoked")
    index.behaviour = fakeindex.says(500)
    for _ in range(3):
        assert is_revoked(revoked, "signature=revoked")
        assert not is_revoked(revoked, "signature=unknown")
    assert len(index.requests) == 2


def test_when_the_index_is_available_again(
    index: FakeIndex, client: IndexClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation, "PAUSE", 0.0)
    revoked = Revoked(client, remember=0)
    index.behaviour = fakeindex.says(500)
    assert not is_revoked(revoked, "signature=revoked")
    index.behaviour = None
    assert is_revoked(revoked, "signature=revoked")


def test_few_revoked_tokens_are_remembered(
    index: FakeIndex, client: IndexClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client cannot fill the memory with invalid tokens; the newest ones are kept."""
    monkeypatch.setattr(revocation, "_KEPT", 2)
    revoked = Revoked(client, remember=0)
    for number in range(3):
        assert is_revoked(revoked, f"signature={number}")
    index.behaviour = fakeindex.says(500)
    assert [is_revoked(revoked, f"signature={number}") for number in range(3)] == [
        False,
        True,
        True,
    ]
