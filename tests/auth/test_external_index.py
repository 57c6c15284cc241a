"""Rights by tokens of a separate index. tests/rights/test_index.py tests the whole server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.auth.conftest import make_client
from tests.rights import fakeindex
from tests.rights.fakeindex import FakeIndex
from v1registry.api import credentials
from v1registry.auth import external_index
from v1registry.auth.external_index import ExternalIndexRights
from v1registry.auth.external_index_client import IndexClient
from v1registry.lib.auth.rights import ANONYMOUS, Access, Credentials
from v1registry.lib.auth.tokens import Issuer, Token, Verifier
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName

APP, OTHER = RepositoryName("team", "app"), RepositoryName("team", "other")
LISTED, UNLISTED = ImageId("a" * 64), ImageId("b" * 64)
ISSUER = Issuer(bytes(range(32)))

Lists = list[tuple[RepositoryName, list[str]]]


@pytest.fixture
def lists() -> Lists:
    """The image lists that the rights passed on."""
    return []


@pytest.fixture
def rights(client: IndexClient, lists: Lists) -> ExternalIndexRights:
    return ExternalIndexRights(client, None, remember=60, listed=lambda *found: lists.append(found))


def bearer(token: str) -> Credentials:
    return credentials.parse(f"Token {token}")


def refusal(function: Callable[[], object]) -> int:
    with pytest.raises(Failure) as caught:
        function()
    if caught.value.status == 401:
        assert caught.value.headers == {"WWW-Authenticate": "Token"}
    return caught.value.status


@pytest.mark.parametrize(
    ("word", "access"),
    [("read", Access.PULL), ("write", Access.PUSH), ("delete", Access.DELETE)],
)
def test_a_token_grants_one_access_to_one_repository(
    index: FakeIndex, rights: ExternalIndexRights, word: str, access: Access
) -> None:
    caller = rights.identify(bearer(index.token("team/app", word)), "")
    assert {one for one in Access if rights.may(caller, APP, one)} == {access}
    assert rights.may(caller, None, access)
    assert not any(rights.may(caller, OTHER, one) for one in Access)


def test_without_a_token(index: FakeIndex, rights: ExternalIndexRights) -> None:
    for header in (None, "Basic Og==", "Basic YTpi", "Bearer x"):
        caller = rights.identify(credentials.parse(header), "")
        assert caller == ANONYMOUS
        assert not any(rights.may(caller, APP, one) for one in Access)
    assert index.requests == []


@pytest.mark.parametrize(
    "token",
    [
        "signature=x,repository=team/app,access=admin",
        "signature=x,repository=team/app",
        "signature=x,access=read",
        "signature=x,repository=a%00b,access=read",
    ],
)
def test_a_token_without_a_grant_causes_no_request(
    index: FakeIndex, rights: ExternalIndexRights, token: str
) -> None:
    assert refusal(lambda: rights.identify(bearer(token), "")) == 401
    assert index.requests == []


def test_a_token_that_the_index_refuses(rights: ExternalIndexRights) -> None:
    token = "signature=x,repository=team/app,access=read"
    assert refusal(lambda: rights.identify(bearer(token), "")) == 401


def test_one_request_for_each_token(index: FakeIndex, rights: ExternalIndexRights) -> None:
    token = bearer(index.token("team/app", "read"))
    for _ in range(3):
        rights.identify(token, "")
    assert len(index.requests) == 1


def test_an_unavailable_index(index: FakeIndex, rights: ExternalIndexRights) -> None:
    token = bearer(index.token("team/app", "read"))
    index.behaviour = fakeindex.says(500)
    assert refusal(lambda: rights.identify(token, "")) == 503
    index.behaviour = None
    assert rights.identify(token, "").grant is not None


@pytest.mark.parametrize("body", [b"{}", b'[{"id": 1}]', b'["x"]', b"no JSON", b"[" * 20_000])
def test_a_response_that_is_no_image_list(
    index: FakeIndex, rights: ExternalIndexRights, body: bytes
) -> None:
    token = bearer(index.token("team/app", "read"))
    index.behaviour = fakeindex.says(200, body)
    assert refusal(lambda: rights.identify(token, "")) == 503


def test_a_large_response_is_read_in_a_thread(index: FakeIndex) -> None:
    """Parsing and checking 4 MiB would block the event loop, and so all clients, for too long."""
    threads: set[int] = set()

    def run_in_thread(function: Callable[..., object], *args: object) -> object:
        def work() -> object:
            threads.add(threading.get_ident())
            return function(*args)

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(work).result()

    def here(value: object) -> list[str]:
        read_in.append(threading.get_ident())
        return external_index._ids(value)

    client, read_in = make_client(index, 4 << 20, run_in_thread), []
    many = [f"{number:064x}" for number in range(50_000)]
    for ids, is_large in (([LISTED], False), (many, True)):
        token = index.token("team/app", "read", ids)
        path = "/v1/repositories/team/app/images"
        assert client.ask(path, f"Token {token}", here) == ids
        assert (read_in[-1] in threads) is is_large
        assert (read_in[-1] == threading.get_ident()) is not is_large


def test_a_response_of_very_many_values(index: FakeIndex, caplog: pytest.LogCaptureFixture) -> None:
    """The parser in C would hold the interpreter's lock for all of them."""
    rights = ExternalIndexRights(
        make_client(index, 4 << 20), None, remember=60, listed=lambda *_: None
    )
    token = bearer(index.token("team/app", "read"))
    index.behaviour = fakeindex.says(200, b"[" + b"1," * 600_000 + b"1]")
    assert refusal(lambda: rights.identify(token, "")) == 503
    assert "its response is not JSON" in caplog.text


def test_only_a_push_passes_the_image_list_on(
    index: FakeIndex, rights: ExternalIndexRights, lists: Lists
) -> None:
    rights.identify(bearer(index.token("team/app", "read", [LISTED])), "")
    assert lists == []
    rights.identify(bearer(index.token("team/app", "write", [LISTED, "no id", LISTED])), "")
    assert lists == [(APP, [LISTED])]


def test_expected_images(
    index: FakeIndex, rights: ExternalIndexRights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is requested again for an image that it does not have, but not at once."""
    caller = rights.identify(bearer(index.token("team/app", "write", [LISTED])), "")
    assert rights.expects(caller, LISTED)
    assert not rights.expects(caller, UNLISTED)
    assert len(index.requests) == 1
    index.images["team/app"].append({"id": UNLISTED})
    now = time.monotonic()
    monkeypatch.setattr("v1registry.auth.external_index.time.monotonic", lambda: now + 2)
    assert rights.expects(caller, UNLISTED)
    assert not rights.expects(ANONYMOUS, LISTED)


def test_images_of_other_repositories(index: FakeIndex, rights: ExternalIndexRights) -> None:
    index.readable.add(LISTED)
    caller = rights.identify(bearer(index.token("team/app", "read")), "")
    assert rights.index_allows(caller, LISTED)
    assert not rights.index_allows(caller, UNLISTED)
    assert not rights.index_allows(ANONYMOUS, LISTED)


# -- tokens that the registry verifies ---------------------------------------------------------


def signed(access: str = "read", seconds: int = 60) -> str:
    return ISSUER.issue(Token("team/app", access, int(time.time()) + seconds, "ann"))


@pytest.fixture
def verifying() -> ExternalIndexRights:
    """Rights with a public key and without an index."""
    verifier = Verifier({ISSUER.key_id: ISSUER.public})
    return ExternalIndexRights(None, verifier, remember=60, listed=lambda *_: None)


def test_a_signed_token(verifying: ExternalIndexRights) -> None:
    caller = verifying.identify(bearer(signed()), "")
    assert caller.user == "ann"
    assert {one for one in Access if verifying.may(caller, APP, one)} == {Access.PULL}
    assert verifying.expects(caller, LISTED)
    assert not verifying.index_allows(caller, LISTED)


def test_invalid_signed_tokens(
    verifying: ExternalIndexRights, caplog: pytest.LogCaptureFixture
) -> None:
    changed = signed().replace("access=read", "access=write")
    for token in (changed, signed(seconds=-60)):
        caplog.clear()
        assert refusal(lambda token=token: verifying.identify(bearer(token), "")) == 401
        [record] = caplog.records
        assert token[10:60] not in record.getMessage()


def test_a_token_of_an_unknown_key_without_an_index(verifying: ExternalIndexRights) -> None:
    other = Issuer(bytes(32)).issue(Token("team/app", "read", int(time.time()) + 60))
    assert refusal(lambda: verifying.identify(bearer(other), "")) == 401


def test_the_index_revokes_a_signed_token(index: FakeIndex, client: IndexClient) -> None:
    verifier = Verifier({ISSUER.key_id: ISSUER.public})
    rights = ExternalIndexRights(client, verifier, remember=0, listed=lambda *_: None)
    token = signed()
    index.tokens[token] = "team/app"
    assert rights.identify(bearer(token), "").user == "ann"
    del index.tokens[token]
    assert refusal(lambda: rights.identify(bearer(token), "")) == 401
