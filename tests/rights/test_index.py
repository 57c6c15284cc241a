"""A registry that trusts an index (protocol-v1.md section 2.2), over the wire."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server, free_port
from tests.protocol import engine, seed
from tests.protocol.engine import Image, image
from tests.rights import fakeindex
from tests.rights.accounts import Client, basic
from tests.rights.fakeindex import FakeIndex
from tests.rights.tls import certificate
from tests.test_upgrade import command
from tests.waiting import wait_for
from v1registry.auth.external_index_client import IndexClient
from v1registry.lib.auth import tokens
from v1registry.lib.errors import Failure
from v1registry.lib.running import in_place

DENIED = {"error": "Requires authorization"}


@pytest.fixture(scope="module")
def shared_index() -> Iterator[FakeIndex]:
    with FakeIndex() as running:
        yield running


@pytest.fixture(scope="module")
def server(shared_index: FakeIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("index") / "store", env=env(shared_index)) as running:
        yield running


@pytest.fixture
def index(shared_index: FakeIndex) -> Iterator[FakeIndex]:
    shared_index.requests.clear()
    yield shared_index
    shared_index.behaviour = None


def env(index: FakeIndex | None, **more: str) -> dict[str, str]:
    found = {"STANDALONE": "false", "INDEX_TIMEOUT": "1s", "LOGLEVEL": "debug"}
    if index is not None:
        found["INDEX_ENDPOINT"] = index.url
    return {**found, **more}


def bearer(server: Server, token: str) -> Client:
    return Client(server, {"Authorization": f"Token {token}"})


def push(server: Server, index: FakeIndex, repository: str, images: list[Image]) -> list[str]:
    """Push as engines do with an index's token: lookups are refused, and 409 means deduplication."""
    client = bearer(server, index.token(repository, "write", [one.id for one in images]))
    uploaded = []
    for one in images:
        engine.expect(client.ask("GET", one.path("json")), 401)
        answer = client.ask("PUT", one.path("json"), one.json)
        if answer.status == 409:
            assert answer.json() == {"error": "Image already exists"}
            continue
        client.upload(one)
        uploaded.append(one.id)
    client.tag(repository, images[-1].id)
    return uploaded


def pull(server: Server, index: FakeIndex, repository: str) -> dict[str, bytes]:
    client = bearer(server, index.token(repository, "read"))
    top = engine.expect(client.ask("GET", f"/v1/repositories/{repository}/tags")).json()["latest"]
    ids = engine.expect(client.ask("GET", f"/v1/images/{top}/ancestry")).json()
    for one in ids:
        engine.expect(client.ask("GET", f"/v1/images/{one}/json"))
    return {one: engine.expect(client.ask("GET", f"/v1/images/{one}/layer")).body for one in ids}


def refused(answer: raw.Answer) -> None:
    assert answer.status == 401, str(answer)
    if answer.body:
        assert answer.json() == DENIED
    assert answer.header("WWW-Authenticate") == "Token"


# -- push and pull ------------------------------------------------------------------------


def test_push_and_pull(server: Server, index: FakeIndex) -> None:
    base = image("index base")
    images = [base, image("index top", base)]
    assert push(server, index, "team/app", images) == [one.id for one in images]
    assert pull(server, index, "team/app") == {one.id: one.layer for one in images}
    again = image("index again", base)
    assert push(server, index, "team/app", [base, again]) == [again.id]
    stored = server.store / "repositories" / "team" / "app" / "_images_list"
    assert json.loads(stored.read_text()) == [base.id, again.id]


def test_a_registry_does_not_serve_index_endpoints(server: Server, index: FakeIndex) -> None:
    answer = raw.get(server, "/v1/_ping")
    assert answer.header("X-Docker-Registry-Standalone") == "False"
    client = bearer(server, index.token("team/none", "write"))
    for method, path, status in [
        ("GET", "/v1/users/", 404),
        ("POST", "/v1/users/", 404),
        ("PUT", "/v1/repositories/team/none/", 405),
        ("GET", "/v1/repositories/team/none/images", 404),
        ("PUT", "/v1/repositories/team/none/images", 404),
        ("PUT", "/v1/repositories/team/none/auth", 404),
    ]:
        assert client.ask(method, path, b"[]").status == status, (method, path)


def test_only_the_authorization_is_forwarded(server: Server, index: FakeIndex) -> None:
    token = index.token("team/forward", "read")
    headers = {"Authorization": f"Token Token {token}", "Cookie": "a=b", "X-Docker-Token": "true"}
    engine.expect(raw.get(server, "/v1/repositories/team/forward/tags", headers), 404)
    [(path, sent)] = index.requests
    assert path == "/v1/repositories/team/forward/images"
    assert sent["Authorization"] == f"Token Token {token}"
    assert set(sent) == {"Authorization", "Accept", "Accept-Encoding", "User-Agent", "Host"}


@pytest.mark.parametrize(
    "form",
    [
        'Token {s},repository="team/forms",access=read',
        "Token {s},repository=team/forms,access=read",
        'token Token {s} , repository = "team/forms" ,access= "read"',
        "TOKEN   token {s},repository=team/forms/,access=read",
    ],
)
def test_forms_of_a_token(server: Server, index: FakeIndex, form: str) -> None:
    index.behaviour = fakeindex.says(200)
    headers = {"Authorization": form.format(s="signature=abc==")}
    path = "/v1/repositories/team/forms/properties"
    assert raw.get(server, path, headers).json() == {"access": "public"}
    assert raw.head(server, path, headers).status == 200


# -- what is refused -------------------------------------------------------------------

WORTHLESS = [
    None,
    "",
    "Token",
    "Token ",
    "Basic dXNlcjpzZWNyZXQ=",
    "Bearer abc",
    "Token {s}",
    "Token {s},repository=team/app",
    "Token {s},access=read",
    "Token {s},repository=team/app,access=",
    "Token {s},repository=team/app,access=admin",
    "Token {s},repository=team/app,access=READ",
    "Token {s},repository=team/app,access=read,access=read",
    "Token {s},repository=team/app,repository=team/app,access=read",
    "Token {s},repository=../app,access=read",
    "Token {s},repository=,access=read",
    "Token {s},repository=team/app,access=read,garbage",
]


@pytest.mark.parametrize("header", WORTHLESS)
def test_malformed_tokens_cause_no_request_to_the_index(
    server: Server, index: FakeIndex, header: str | None
) -> None:
    index.behaviour = fakeindex.says(200)
    headers = {} if header is None else {"Authorization": header.format(s="signature=abc")}
    for method, path in [
        ("GET", "/v1/repositories/team/app/tags"),
        ("PUT", "/v1/repositories/team/app/tags/x"),
        ("DELETE", "/v1/repositories/team/app/"),
        ("GET", f"/v1/images/{'a' * 64}/json"),
        ("PUT", f"/v1/images/{'a' * 64}/json"),
        ("GET", "/v1/images/x/json"),
    ]:
        refused(raw.request(server, method, path, headers, b"{}"))
    assert index.requests == []


ACCESS = {"GET": "read", "HEAD": "read", "PUT": "write", "DELETE": "delete"}
ENDPOINTS = [
    ("GET", "/v1/repositories/{r}/tags"),
    ("HEAD", "/v1/repositories/{r}/tags"),
    ("GET", "/v1/repositories/{r}/tags/latest"),
    ("GET", "/v1/repositories/{r}/tags/latest/json"),
    ("GET", "/v1/repositories/{r}/json"),
    ("GET", "/v1/repositories/{r}/properties"),
    ("PUT", "/v1/repositories/{r}/properties"),
    ("PUT", "/v1/repositories/{r}/tags/latest"),
    *(("GET", f"/v1/images/{{i}}/{part}") for part in ("json", "layer", "ancestry", "files", "diff")),
    ("HEAD", "/v1/images/{i}/layer"),
    *(("PUT", f"/v1/images/{{i}}/{part}") for part in ("json", "layer", "checksum")),
    ("DELETE", "/v1/repositories/{r}/tags/latest"),
    ("DELETE", "/v1/repositories/{r}/tags"),
    ("DELETE", "/v1/repositories/{r}/"),
]  # fmt: skip


@pytest.mark.parametrize("access", ["read", "write", "delete"])
@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
def test_every_endpoint_with_every_access(
    server: Server, index: FakeIndex, access: str, private: bool
) -> None:
    name = f"table/{access}-{'private' if private else 'public'}"
    one = image(name)
    push(server, index, name, [one])
    if private:
        flagged = bearer(server, index.token(name, "write"))
        engine.expect(
            flagged.ask("PUT", f"/v1/repositories/{name}/properties", b'{"access": "private"}')
        )
    own = bearer(server, index.token(name, access, [one.id]))
    others = bearer(server, index.token("table/other", access))
    forged = bearer(server, f'signature=forged,repository="{name}",access={access}')
    for method, path in ENDPOINTS:
        asked = path.format(r=name, i=one.id)
        for stranger in (Client(server, {}), forged):
            refused(stranger.ask(method, asked, b"{}"))
        # a token for another repository is refused, and these images do not exist for it
        answer = others.ask(method, asked, b"{}")
        if "/images/" in path and ACCESS[method] == access:
            if method in ("GET", "HEAD"):
                assert answer.status == 404, (method, asked)
                assert method == "HEAD" or answer.json() == {"error": "Image not found"}
            else:
                status = 412 if path.endswith("/checksum") else 400
                assert answer.status == status, (method, asked)
        else:
            refused(answer)
        answer = own.ask(method, asked, b"{}")
        if ACCESS[method] != access:
            refused(answer)
        else:
            assert answer.status not in (401, 403), (method, asked)
            cache = answer.header("Cache-Control") or ""
            assert "public" not in cache, (method, asked)


def test_an_image_that_the_index_does_not_list(server: Server, index: FakeIndex) -> None:
    one = image("index unlisted")
    client = bearer(server, index.token("team/unlisted", "write", []))
    text = {"error": "This image does not belong to the repository"}
    checksum = {"X_Docker_Checksum_Payload": one.checksum}
    for part, body, more in (
        ("json", one.json, {}), ("layer", one.layer, {}), ("checksum", b"", checksum),
    ):  # fmt: skip
        answer = client.ask("PUT", one.path(part), body, **more)
        assert (answer.status, answer.json()) == (400, text)
    # other errors take precedence, as in docker-registry 0.x
    assert client.ask("PUT", one.path("json"), b"{").json() == {"error": "Invalid JSON"}
    # images that the index lists after the token was issued are allowed
    index.images["team/unlisted"] = [{"id": one.id}]
    wait_for(lambda: client.ask("PUT", one.path("json"), one.json).status == 200, 10)
    client.upload(one)


def test_parents(server: Server, index: FakeIndex) -> None:
    """Parents of the same repository, of others if the index allows it, and unknown parents."""
    parent = image("index parent")
    child, orphan = image("index child", parent), image("index orphan", image("index missing"))
    push(server, index, "team/parents", [parent])
    client = bearer(server, index.token("other/app", "write", [child.id, orphan.id]))
    text = {"error": "Image depends on an unauthorized parent"}
    for one in (child, orphan):
        answer = client.ask("PUT", one.path("json"), one.json)
        assert (answer.status, answer.json()) == (400, text)
    asked = [path for path, _ in index.requests if path.endswith("/access")]
    assert asked[-2:] == [
        f"/v1/repositories/other/app/layer/{parent.id}/access",
        f"/v1/repositories/other/app/layer/{orphan.ancestry[1]}/access",
    ]
    index.readable |= {parent.id, orphan.ancestry[1]}
    answer = client.ask("PUT", orphan.path("json"), orphan.json)
    assert answer.json() == {"error": "Image depends on a non existing parent"}
    client.upload(child)
    client.tag("other/app", child.id)
    assert set(pull(server, index, "other/app")) == {child.id, parent.id}


def test_theft_with_a_list_and_a_token(server: Server, index: FakeIndex) -> None:
    """A client that adds an id to an image list gets a token, but cannot read the image."""
    secret = image("index secret")
    push(server, index, "victim/app", [secret])
    thief = bearer(server, index.token("thief/app", "write", [secret.id]))
    reader = bearer(server, index.token("thief/app", "read"))
    engine.expect(thief.ask("PUT", secret.path("json"), json.dumps({"id": secret.id}).encode()))
    engine.expect(thief.ask("PUT", secret.path("layer"), b"guess"))
    thief.finish(secret, 400)
    thief.tag("thief/app", secret.id, status=404)
    for part in ("json", "layer", "ancestry", "files", "diff"):
        engine.expect(reader.ask("GET", secret.path(part)), 404)
    # a client that has the image itself can push it
    thief.upload(secret)
    thief.tag("thief/app", secret.id)
    assert pull(server, index, "thief/app") == {secret.id: secret.layer}


def test_a_store_of_0x(shared_index: FakeIndex, tmp_path: Path) -> None:
    """Its images can be pulled although they have no repository references yet."""
    base = image("index old base")
    top = image("index old top", base)
    for one in (base, top):
        seed.image(tmp_path, one.json, one.layer, one.ancestry, [one.checksum])
    seed.tags(tmp_path / "repositories" / "old" / "app", {"latest": top.id})
    with Server(tmp_path, env=env(shared_index)) as server:
        wanted = {one.id: one.layer for one in (base, top)}
        assert pull(server, shared_index, "old/app") == wanted
        stranger = bearer(server, shared_index.token("old/other", "read"))
        engine.expect(stranger.ask("GET", base.path("json")), 404)
        assert not (tmp_path / "repositories" / "old" / "other").exists()
        assert "before `v1registry backfill` has run" in server.log
    done = command(
        "backfill", "--only", "reach", SETTINGS_FLAVOR="local", STORAGE_PATH=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    with Server(tmp_path, env=env(shared_index)) as server:
        assert "v1registry backfill" not in server.log


# -- requests to the index -----------------------------------------------------------------------


def test_confirmed_tokens_are_remembered_and_connections_are_kept(
    tmp_path: Path, shared_index: FakeIndex
) -> None:
    with FakeIndex() as index, Server(tmp_path, env=env(index, INDEX_REMEMBER="2s")) as server:
        token = index.token("team/app", "read")
        path = "/v1/repositories/team/app/properties"
        for _ in range(5):
            engine.expect(bearer(server, token).ask("GET", path))
        assert len(index.requests) == 1

        def requests() -> int:
            engine.expect(bearer(server, token).ask("GET", path))
            return len(index.requests)

        assert wait_for(lambda: (count := requests()) > 1 and count) == 2
        for _ in range(5):
            engine.expect(bearer(server, index.token("team/app", "read")).ask("GET", path))
        assert index.connections == 1
        # a refusal is not remembered: the index may allow it later
        for count in (1, 2):
            refused(bearer(server, token.replace("signature=", "signature=0")).ask("GET", path))
            assert len(index.requests) == 7 + count


def test_equal_questions_are_asked_once(server: Server, index: FakeIndex) -> None:
    token = index.token("team/equal", "read")
    plain = index.behaviour

    def slow(handler: fakeindex.Handler) -> None:
        time.sleep(0.5)
        handler.answer(200, b"[]")

    index.behaviour = slow
    found: list[int] = []
    path = "/v1/repositories/team/equal/properties"
    threads = [
        threading.Thread(target=lambda: found.append(bearer(server, token).ask("GET", path).status))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    index.behaviour = plain
    assert found == [200] * 20
    assert len(index.requests) == 1


# -- an index that is slow, unavailable or wrong ------------------------------------------------

BROKEN = {
    "500": fakeindex.says(500),
    "503": fakeindex.says(503),
    "429": fakeindex.says(429),
    "a redirect": fakeindex.says(302, Location="https://elsewhere.example/"),
    "a redirect for ever": fakeindex.says(308, Location="/v1/repositories/team/app/images"),
    "201": fakeindex.says(201),
    "204": fakeindex.says(204, b""),
    "no JSON": fakeindex.says(200, b"<html>"),
    "no UTF-8": fakeindex.says(200, b"[\xff]"),
    "no list": fakeindex.says(200, b'{"id": "a"}'),
    "a list of no objects": fakeindex.says(200, b'["a"]'),
    "a list of objects without id": fakeindex.says(200, b'[{"ID": "a"}]'),
    "an id that is no text": fakeindex.says(200, b'[{"id": 5}]'),
    "true": fakeindex.says(200, b"true"),
    "nested too deeply": fakeindex.says(200, b"[" * 100_000),
    "a long list": fakeindex.says(200, b"[" + b" " * (5 * 1024 * 1024) + b"]"),
    "a bomb": fakeindex.says(200, b"\x1f\x8b", Content_Encoding="gzip"),
    "silence": fakeindex.silent,
    "a drip": fakeindex.dripping,
    "a list without end": fakeindex.endless,
    "half an answer": fakeindex.broken_off,
    "no HTTP": fakeindex.no_http,
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_unavailable_index_grants_no_access(server: Server, index: FakeIndex, what: str) -> None:
    client = bearer(server, index.token("team/app", "read"))
    index.behaviour = BROKEN[what]
    begun = time.monotonic()
    answer = client.ask("GET", "/v1/repositories/team/app/properties")
    assert time.monotonic() - begun < 15  # INDEX_TIMEOUT and tries, not a speed
    assert answer.status == 503, str(answer)
    assert answer.header("Retry-After") == "5"
    assert answer.json() == {"error": "The index cannot check access rights now, retry later"}
    assert len(index.requests) <= 2, "nothing is followed"
    index.behaviour = None
    engine.expect(client.ask("GET", "/v1/repositories/team/app/properties"))


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_an_index_that_refuses_a_token(server: Server, index: FakeIndex, status: int) -> None:
    index.behaviour = fakeindex.says(status)
    client = bearer(server, index.token("team/app", "read"))
    refused(client.ask("GET", "/v1/repositories/team/app/properties"))


def test_no_index_at_all(tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with Server(tmp_path, env=env(None, INDEX_ENDPOINT=endpoint)) as server:
        client = bearer(server, "signature=a,repository=team/app,access=read")
        answer = client.ask("GET", "/v1/repositories/team/app/tags")
        assert (answer.status, answer.header("Retry-After")) == (503, "5")
        assert "Connection refused" in server.log
        refused(Client(server, {}).ask("GET", "/v1/repositories/team/app/tags"))
        assert raw.get(server, "/v1/_ping").status == 200


def test_an_index_behind_tls(tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    bound = {
        "timeout": 5,
        "limit": 1000,
        "within": lambda _, call: call(),
        "run_in_thread": in_place,
    }
    with FakeIndex(pair) as index:
        header = f"Token {index.token('team/app', 'read')}"
        path = "/v1/repositories/team/app/images"
        assert IndexClient(index.url, ca=str(pair[0]), **bound).ask(path, header) == []
        for url, ca in [
            (index.url, None),
            (index.url.replace("127.0.0.1", "localhost"), str(pair[0])),
            (index.url.replace("https", "http"), None),
        ]:
            with pytest.raises(Failure) as caught:
                IndexClient(url, ca=ca, **bound).ask(path, header)
            assert caught.value.status == 503
    assert len(index.requests) == 1


# -- tokens that the registry verifies --------------------------------------------------------


def signed(issuer: tokens.Issuer, access: str, life: int = 60, name: str = "team/app") -> str:
    token = tokens.Token(name, access, int(time.time()) + life, "ann")
    return issuer.issue(token)


def test_signed_tokens_are_verified_without_a_request(tmp_path: Path) -> None:
    issuer, stranger = tokens.Issuer(tokens.new_key()), tokens.Issuer(tokens.new_key())
    one = image("signed")
    keys = tokens.public_text(issuer.public)
    with Server(tmp_path, env=env(None, INDEX_KEYS=keys)) as server:
        write = bearer(server, signed(issuer, "write"))
        write.upload(one)
        write.tag("team/app", one.id)
        read = bearer(server, signed(issuer, "read"))
        engine.expect(read.ask("GET", one.path("layer")))
        tags = "/v1/repositories/team/app/tags"
        engine.expect(read.ask("GET", tags))
        good = signed(issuer, "read")
        for bad in (
            signed(stranger, "read"),
            signed(issuer, "read", life=-601),  # later than the clocks may differ
            signed(issuer, "write"),
            signed(issuer, "read", name="team/other"),
            good.replace("access=read", "access=write"),
            good.replace("team/app", "team/other"),
            good.replace("ann", "bob"),
            good[:-20],
            good.replace("signature=", "signature=A"),
            good.replace(f"kid={issuer.key_id}", f"kid={stranger.key_id}"),
            "signature=a,repository=team/app,access=read",
        ):
            refused(bearer(server, bad).ask("GET", tags))


def test_a_clock_that_is_ahead(tmp_path: Path) -> None:
    """Up to ten minutes, tokens are valid. Beyond, the log gives the reason and not the token."""
    issuer = tokens.Issuer(tokens.new_key())
    keys = tokens.public_text(issuer.public)
    path = "/v1/repositories/team/app/properties"
    with Server(tmp_path, env=env(None, INDEX_KEYS=keys)) as server:
        new = signed(issuer, "read", life=-590)  # an index that is behind by ten minutes issued it
        engine.expect(bearer(server, new).ask("GET", path))
        assert "refused" not in server.log
        old = signed(issuer, "read", life=-700)
        refused(bearer(server, old).ask("GET", path))
        refused(bearer(server, signed(tokens.Issuer(tokens.new_key()), "read")).ask("GET", path))
        wrong = new.replace("team/app", "team/apps")
        refused(bearer(server, wrong).ask("GET", path))
        log = server.log
        assert re.search(r"token to read team/app is refused: it expired 70[0-9] seconds ago", log)
        assert "clock_skew allows 600" in log
        assert "(NTP)" in log
        assert "A token is refused: the signature is wrong" in log
        for token in (new, old):
            assert token[10:60] not in log
    with Server(tmp_path, env=env(None, INDEX_KEYS=keys, CLOCK_SKEW="0s")) as strict:
        refused(bearer(strict, signed(issuer, "read", life=-2)).ask("GET", path))


def test_signature_and_revocation(tmp_path: Path) -> None:
    """The registry verifies the signature first; then the index may revoke the token."""
    issuer = tokens.Issuer(tokens.new_key())
    path = "/v1/repositories/team/app/properties"
    with FakeIndex() as index:
        more = {"INDEX_KEYS": tokens.public_text(issuer.public), "INDEX_REMEMBER": "1s"}
        with Server(tmp_path, env=env(index, **more)) as server:
            good, taken_back = signed(issuer, "read"), signed(issuer, "read")
            index.tokens[good] = "team/app"
            for _ in range(3):
                engine.expect(bearer(server, good).ask("GET", path))
            [(asked, headers)] = index.requests
            assert asked == f"/v1/repositories/team/app/layer/{'0' * 64}/access"
            assert headers["Authorization"] == f"Token {good}"
            refused(bearer(server, taken_back).ask("GET", path))
            # an invalid token with the id of our key causes no request
            count = len(index.requests)
            refused(bearer(server, good.replace("ann", "bob")).ask("GET", path))
            assert len(index.requests) == count
            # a token without our signature causes a request
            engine.expect(bearer(server, index.token("team/app", "read")).ask("GET", path))
            del index.tokens[good]
            wait_for(lambda: bearer(server, good).ask("GET", path).status != 200)
            refused(bearer(server, good).ask("GET", path))


@pytest.mark.parametrize("behaviour", [fakeindex.says(500), fakeindex.silent])
def test_signed_tokens_while_the_index_is_unavailable(
    tmp_path: Path, behaviour: fakeindex.Behaviour
) -> None:
    issuer = tokens.Issuer(tokens.new_key())
    path = "/v1/repositories/team/app/properties"
    with FakeIndex() as index:
        more = {"INDEX_KEYS": tokens.public_text(issuer.public), "INDEX_TIMEOUT": "1s"}
        with Server(tmp_path, env=env(index, INDEX_REMEMBER="0s", **more)) as server:
            known, taken_back, new = (signed(issuer, "read") for _ in range(3))
            index.tokens[known] = "team/app"
            engine.expect(bearer(server, known).ask("GET", path))
            refused(bearer(server, taken_back).ask("GET", path))
            index.behaviour = behaviour
            asked = len(index.requests)
            for token in (known, new, known, new):
                engine.expect(bearer(server, token).ask("GET", path))
            assert len(index.requests) == asked + 1
            refused(bearer(server, taken_back).ask("GET", path))
            assert bearer(server, index.token("team/app", "read")).ask("GET", path).status == 503
            assert server.log.count("gave no usable response to") == 2


# -- what the log must not hold ------------------------------------------------------------


def test_no_token_is_logged(server: Server, index: FakeIndex) -> None:
    token = index.token("team/logged", "read")
    index.behaviour = fakeindex.says(500)
    bearer(server, token).ask("GET", "/v1/repositories/team/logged/tags?token=hush")
    index.behaviour = None
    bearer(server, token).ask("GET", "/v1/repositories/team/logged/tags")
    raw.get(server, "/v1/repositories/team/logged/tags", basic("ann", "hush hush"))
    log = server.log
    assert "its response has status 500" in log
    for text in index.tokens:
        assert text.partition(",")[0].partition("=")[2] not in log
    assert "hush" not in log


def test_disable_token_auth_allows_everything(tmp_path: Path) -> None:
    with Server(tmp_path, env=env(None, DISABLE_TOKEN_AUTH="true")) as server:
        base = image("unchecked base")
        for one in (base, image("unchecked", base)):  # 8, 12: a parent was refused there
            engine.upload(server, one)
        client = Client(server, {})
        client.tag("team/app", base.id)
        engine.expect(client.ask("GET", base.path("layer")))
        assert raw.put(server, "/v1/repositories/team/app/", b"[]").status == 405
        assert raw.get(server, "/v1/_ping").header("X-Docker-Registry-Standalone") == "False"
        assert "every client that reaches the port may do everything" in server.log
