"""Index and registry in one process, over HTTP: logins, pushes, pulls, search, tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import raw
from tests.index.conftest import PASSWORD, here, open_database
from tests.index.engines import MAGIC, Engine
from tests.live_server import Server
from tests.protocol.engine import Image, expect, image
from tests.rights.accounts import JSON, basic
from v1registry.index.accounts import AccountStore
from v1registry.index.namespaces import Namespaces
from v1registry.index.tokenkeys import TokenKeys
from v1registry.lib.names import RepositoryName

CHALLENGE = 'Basic realm="auth required",Token'


def seeded(url: str) -> str:
    """Add accounts with roles in `team`, an administrator and a disabled account; return a secret."""
    database = open_database(url)
    accounts, namespaces = AccountStore(database, here), Namespaces(database)
    for name in ("other", "reader", "writer", "owner", "gone"):
        accounts.add(name, PASSWORD, email=f"{name}@example.org")
    accounts.add("root", PASSWORD, is_admin=True)
    accounts.add("robot", None)
    accounts.set_disabled("gone", True)
    secret = accounts.issue_secret("robot")
    namespaces.add("team")
    for name, role in [
        ("reader", "pull"),
        ("writer", "push"),
        ("owner", "admin"),
        ("robot", "push"),
    ]:
        namespaces.grant(name, role, "team")
    database.close()
    return secret


def seeded_file(folder: Path) -> str:
    """Return a SQLite database for tests that do not depend on the kind of database."""
    url = f"sqlite:///{folder}/index.db"
    seeded(url)
    return url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('index')}/index.db"
    return str(request.getfixturevalue("postgres").database())


@pytest.fixture(scope="module")
def secret(url: str) -> str:
    """Return the robot's secret."""
    return seeded(url)


@pytest.fixture(scope="module")
def server(url: str, secret: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"INDEX_DATABASE": url, "INDEX_SIGN_UP": "open", "ACCOUNTS_ATTEMPTS": "0",
           "LOGLEVEL": "debug"}  # fmt: skip
    with Server(tmp_path_factory.mktemp("store") / "store", workers=2, env=env) as running:
        yield running


def engine(server: Server, user: str = "", **more: Any) -> Engine:
    return Engine([server], user, PASSWORD if user else "", **more)


def pair(word: str) -> list[Image]:
    base = image(f"{word} base")
    return [base, image(f"{word} top", base)]


def denied(answer: raw.Answer) -> None:
    assert (answer.status, answer.header("WWW-Authenticate")) == (401, CHALLENGE), str(answer)
    assert answer.json() == {"error": "Requires authorization"}


# -- logins -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.6.0", "0.7.2", "1.0.1", "1.10.3"])
def test_engines_that_register_at_every_login(server: Server, version: str) -> None:
    new = engine(server, f"new-{version}", version=version)
    assert new.login(f"{version}@example.org") == 201
    assert new.login(f"{version}@example.org") == 200
    assert engine(server, "reader", version=version).login("whatever") == 200
    wrong = Engine([server], "reader", "wrong-password", version=version)
    assert wrong.login("r@example.org") == 401
    assert engine(server, "gone", version=version).login() == 403


@pytest.mark.parametrize("version", ["1.11.2", "1.12.6"])
def test_engines_that_only_log_in(server: Server, version: str) -> None:
    for user, password, status in [
        ("reader", PASSWORD, 200),
        ("reader", "wrong-password", 401),
        ("nobody", PASSWORD, 401),
        ("gone", PASSWORD, 403),
        ("", "", 401),
    ]:
        asking = Engine([server], user, password, registers=False, version=version)
        assert asking.login() == status, user


def test_the_answers_to_a_login(server: Server) -> None:
    answer = raw.get(server, "/v1/users/", basic("reader", PASSWORD))
    assert (answer.status, answer.body) == (200, b'"OK"')
    denied(raw.get(server, "/v1/users/"))
    denied(raw.get(server, "/v1/users/", {"Authorization": "Basic Og=="}))
    wrong = raw.get(server, "/v1/users/", basic("reader", "wrong"))
    assert (wrong.status, wrong.header("WWW-Authenticate")) == (401, CHALLENGE)
    answer = raw.get(server, "/v1/users/", basic("gone", PASSWORD))
    assert (answer.status, answer.json()) == (403, {"error": "The account is not active"})


def registered(server: Server, **given: object) -> raw.Answer:
    return raw.request(server, "POST", "/v1/users/", {}, json.dumps(given).encode())


def test_sign_up_requests(server: Server) -> None:
    answer = registered(server, username="fresh", password=PASSWORD, email="f@example.org")
    assert (answer.status, answer.body) == (201, b'"User Created"')
    for given in [
        {"username": "fresh", "password": "other-password", "email": "g@example.org"},
        {"username": "fresh", "password": "short", "email": ""},
        {"username": "another", "password": PASSWORD, "email": "f@example.org"},
    ]:
        answer = registered(server, **given)
        assert (answer.status, answer.body) == (400, MAGIC), given
    for given in [
        {"username": "Upper", "password": PASSWORD},
        {"username": "short", "password": "short"},
        {"username": "mail", "password": PASSWORD, "email": "nonsense"},
        {"username": "library", "password": PASSWORD},
        {"username": "team", "password": PASSWORD},
        {"username": 5, "password": PASSWORD},
        {"username": "x"},
        {},
    ]:
        answer = registered(server, **given)
        assert answer.status == 400, given
        assert set(answer.json()) == {"error"}
    for body in (b"", b"{", b"[]", b"5", b'{"username": '):
        answer = raw.request(server, "POST", "/v1/users/", {}, body)
        assert (answer.status, set(answer.json())) == (400, {"error"})


def test_changing_the_own_account(server: Server) -> None:
    changing = engine(server, "changing")
    assert changing.login() == 201

    def change(name: str, by: dict[str, str], **given: object) -> raw.Answer:
        return raw.put(server, f"/v1/users/{name}/", json.dumps(given).encode(), by)

    mine = basic("changing", PASSWORD)
    assert change("changing", mine, password="another-1", email="c@example.org").status == 204
    assert Engine([server], "changing", "another-1", registers=False).login() == 200
    denied(change("changing", {}, password="another-2"))
    for by in (basic("reader", PASSWORD), basic("owner", PASSWORD)):
        assert change("changing", by, password="another-2").status == 403
    assert change("changing", basic("root", PASSWORD), password="another-3").status == 204
    assert change("robot", basic("root", PASSWORD), password="another-3").status == 400
    assert change("unknown", basic("root", PASSWORD), password="another-3").status == 404
    mine = basic("changing", "another-3")
    for given in ({"password": "short"}, {"password": 5}, {"email": "x"}):
        assert change("changing", mine, **given).status == 400, given
    assert change("changing", mine, email="f@example").status == 204


def test_a_secret_does_not_change_the_account(server: Server, url: str) -> None:
    """Otherwise a person who finds a secret could take over the account."""
    database = open_database(url)
    secret = AccountStore(database, here).issue_secret("other")
    database.close()
    path, shown = "/v1/users/other/", basic("other", secret)
    assert raw.get(server, "/v1/users/", shown).status == 200
    for given in ({"password": "another-1"}, {"email": "x@example.org"}):
        answer = raw.put(server, path, json.dumps(given).encode(), shown)
        assert (answer.status, set(answer.json())) == (403, {"error"})
    assert raw.get(server, "/v1/users/", basic("other", PASSWORD)).status == 200


def test_a_pusher_does_not_change_the_visibility(server: Server) -> None:
    writer, owner = engine(server, "writer"), engine(server, "owner")
    writer.push("team/flagged", [image("flagged")])
    path = "/v1/repositories/team/flagged/properties"
    for body in (b'{"access": "private"}', b'{"access": "public"}'):
        assert raw.put(server, path, body, basic("writer", PASSWORD)).status == 403
    asked = writer.ask_index("PUT", "/v1/repositories/team/flagged/", b"[]")
    token = {"Authorization": f"Token {asked.header('X-Docker-Token')}"}
    denied(raw.put(server, path, b'{"access": "private"}', token))
    assert raw.put(server, path, b'{"access": "private"}', basic("owner", PASSWORD)).status == 200
    denied(engine(server).ask_index("GET", "/v1/repositories/team/flagged/images"))
    assert owner.pull("team/flagged")


def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    url = seeded_file(tmp_path)
    env = {"INDEX_DATABASE": url, "ACCOUNTS_ATTEMPTS": "3"}
    with Server(tmp_path / "store", env=env) as slow:
        statuses = [raw.get(slow, "/v1/users/", basic("reader", "wrong")).status for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]


def test_sign_ups_are_slowed_down(tmp_path: Path) -> None:
    """Each sign-up costs a hash and a name. A login, which begins with the same request, does not."""
    url = seeded_file(tmp_path)
    env = {"INDEX_DATABASE": url, "INDEX_SIGN_UP": "open", "ACCOUNTS_ATTEMPTS": "3"}
    with Server(tmp_path / "store", env=env) as slow:
        found = [registered(slow, username=f"new-{n}", password=PASSWORD) for n in range(5)]
        assert [answer.status for answer in found] == [201, 201, 201, 429, 429]
        assert 0 < int(found[-1].header("Retry-After") or 0) <= 120
        for _ in range(5):
            assert engine(slow, "reader").login() == 200


# -- pushes and pulls ----------------------------------------------------------------------------


def test_ping_says_that_there_is_an_index(server: Server) -> None:
    answer = raw.get(server, "/v1/_ping")
    assert answer.header("X-Docker-Registry-Standalone") == "False"
    status = raw.get(server, "/_status").json()
    assert (status["services"], status["failures"]) == (["storage", "database"], {})


def test_push_and_pull(server: Server) -> None:
    images = pair("push and pull")
    layers = {one.id: one.layer for one in images}
    assert engine(server, "writer").push("team/app", images) == [one.id for one in images]
    for user in ("", "other", "reader", "writer", "owner", "root"):
        assert engine(server, user).pull("team/app") == layers
    assert engine(server, "owner").push("team/app", images, "v2") == []


def test_the_answers_of_the_index(server: Server) -> None:
    writer = engine(server, "writer")
    [one] = [image("answers")]
    answer = writer.ask_index("PUT", "/v1/repositories/team/answers/", b"[]")
    assert (answer.status, answer.body) == (200, b'""')
    token = answer.header("X-Docker-Token") or ""
    assert token.startswith("signature=")
    assert ',repository="team/answers",access=write,' in token
    assert answer.header("WWW-Authenticate") == f"Token {token}"
    assert answer.all("X-Docker-Endpoints") == [server.host]
    writer.push("team/answers", [one])
    answer = writer.ask_index("GET", "/v1/repositories/team/answers/images")
    assert (answer.status, answer.json()) == (200, [{"id": one.id}])
    assert ",access=read," in (answer.header("X-Docker-Token") or "")
    # only clients that ask for a token get one
    answer = raw.get(server, "/v1/repositories/team/answers/images", basic("writer", PASSWORD))
    assert (answer.status, answer.header("X-Docker-Token")) == (200, None)
    assert answer.all("X-Docker-Endpoints") == [server.host]
    for path, text in [
        ("/v1/repositories/team/none/images", "images not found"),
        ("/v1/repositories/nowhere/none/images", "images not found"),
    ]:
        answer = writer.ask_index("GET", path)
        assert (answer.status, answer.json()) == (404, {"error": text})


def test_odd_lists(server: Server) -> None:
    writer = engine(server, "writer")
    for body, text in [
        (b"", "Error Decoding JSON"), (b"{", "Error Decoding JSON"), (b"{}", "Invalid data"),
        (b"[5]", "Invalid data"), (b'[{"id": "../../x"}]', "Invalid data"),
    ]:  # fmt: skip
        for path in ("/v1/repositories/team/odd/", "/v1/repositories/team/odd/images"):
            answer = writer.ask_index("PUT", path, body)
            assert (answer.status, answer.json()) == (400, {"error": text})


def test_the_namespace_of_the_account(server: Server) -> None:
    new = engine(server, "own-space")
    assert new.login() == 201
    images = pair("own space")
    assert new.push("own-space/app", images) == [one.id for one in images]
    assert engine(server).pull("own-space/app").keys() == {one.id for one in images}
    for user in ("", "writer"):
        answer = engine(server, user).ask_index("PUT", "/v1/repositories/own-space/app/", b"[]")
        assert answer.status == (403 if user else 401)
    # the namespace `library` has no owner
    answer = new.ask_index("PUT", "/v1/repositories/busybox/", b"[]")
    assert (answer.status, answer.json()) == (403, {"error": "Access denied"})
    assert engine(server, "root").push("busybox", images[:1]) == []
    assert engine(server).pull("library/busybox").keys() == {images[0].id}


def test_a_robot_pushes_with_its_secret(server: Server, secret: str) -> None:
    robot = Engine([server], "robot", secret)
    assert robot.login() == 200
    images = pair("robot")
    assert robot.push("team/robot", images) == [one.id for one in images]
    assert Engine([server], "robot", PASSWORD).login() == 401
    assert robot.ask_index("DELETE", "/v1/repositories/team/robot/").status == 403


def test_tokens_of_other_users_and_repositories(server: Server) -> None:
    """Tokens for another repository or access, or altered tokens, are refused everywhere."""
    one, two = image("bound one"), image("bound two")
    writer = engine(server, "writer")
    writer.push("team/bound", [one])
    writer.push("team/bound-other", [two])
    answer = writer.ask_index("GET", "/v1/repositories/team/bound/images")
    token = answer.header("X-Docker-Token") or ""

    def asked(text: str, method: str, path: str, body: bytes | None = None) -> raw.Answer:
        return raw.request(server, method, path, {"Authorization": f"Token {text}"}, body)

    tags, others = (f"/v1/repositories/team/{name}/tags" for name in ("bound", "bound-other"))
    assert asked(token, "GET", tags).json() == {"latest": one.id}
    assert asked(token, "HEAD", tags).status == 200
    assert asked(token, "GET", one.path("layer")).status == 200
    denied(asked(token, "GET", others))
    assert asked(token, "GET", two.path("layer")).status == 404  # an image of another repository
    denied(asked(token, "PUT", f"{tags}/v2", f'"{one.id}"'.encode()))
    denied(asked(token, "DELETE", tags))
    denied(asked(token, "PUT", image("bound new").path("json"), b"{}"))
    for changed in (
        token.replace("team/bound", "team/bound-other"),
        token.replace("access=read", "access=write"),
        token[:30] + ("A" if token[30] != "A" else "B") + token[31:],
        token + ",access=delete",
        token.partition(",user=")[0],
        "x",
    ):
        denied(asked(changed, "GET", tags))
    # a token is not a login, and gives no other token
    denied(asked(token, "GET", "/v1/index/stars"))
    denied(asked(token, "PUT", "/v1/users/writer/", b'{"password": "another-1"}'))
    headers = {"Authorization": f"Token {token}", "X-Docker-Token": "true"}
    answer = raw.get(server, "/v1/repositories/team/bound/images", headers)
    assert (answer.status, answer.header("X-Docker-Token")) == (200, None)


def test_tokens_of_a_node_whose_clock_is_behind(server: Server, url: str) -> None:
    one = image("behind")
    engine(server, "writer").push("team/behind", [one])
    database = open_database(url)
    keys, name = TokenKeys(database), RepositoryName("team", "behind")
    new, old = (keys.issue(name, "read", "writer", life) for life in (-590, -700))
    database.close()
    path = "/v1/repositories/team/behind/tags"
    expect(raw.get(server, path, {"Authorization": f"Token {new}"}))
    denied(raw.get(server, path, {"Authorization": f"Token {old}"}))
    assert "token to read team/behind is refused: it expired 70" in server.log


def test_a_registry_asks_the_index_about_a_token(server: Server) -> None:
    """The index says whether a token is valid, for any kind of token (protocol-v1.md section 2.2)."""
    one = image("asked")
    writer = engine(server, "writer")
    writer.push("team/asked", [one])
    for answer in (
        writer.ask_index("GET", "/v1/repositories/team/asked/images"),
        writer.ask_index("PUT", "/v1/repositories/team/asked/", b"[]"),
    ):
        headers = {"Authorization": f"Token Token {answer.header('X-Docker-Token')}"}
        found = raw.get(server, "/v1/repositories/team/asked/images", headers)
        assert (found.status, found.json()) == (200, [{"id": one.id}])
        denied(raw.get(server, "/v1/repositories/team/bound/images", headers))
        path = "/v1/repositories/team/asked/layer/{}/access"
        assert raw.get(server, path.format(one.id), headers).json() == {"access": True}
        assert raw.get(server, path.format("0" * 64), headers).json() == {"access": False}


def test_private_repositories(server: Server) -> None:
    images = pair("private")
    engine(server, "owner").push("team/private", images)
    body = json.dumps({"is_private": True}).encode()
    path = "/v1/index/repositories/team/private"
    assert raw.put(server, path, body, basic("owner", PASSWORD) | JSON).status == 204
    layers = {one.id: one.layer for one in images}
    for user in ("reader", "writer", "owner", "root"):
        assert engine(server, user).pull("team/private") == layers
    answer = engine(server, "other").ask_index("GET", "/v1/repositories/team/private/images")
    assert (answer.status, answer.json()) == (404, {"error": "images not found"})
    denied(engine(server).ask_index("GET", "/v1/repositories/team/private/images"))
    for user, status in [(None, 401), ("other", 404), ("reader", 200)]:
        for one in images:
            answer = raw.get(server, one.path("layer"), basic(user, PASSWORD))
            assert answer.status == status
    assert raw.get(
        server, "/v1/repositories/team/private/properties", basic("reader", PASSWORD)
    ).json() == {"access": "private"}
    # listing a known id gives no right
    thief = engine(server, "other")
    top = images[-1]
    listed = json.dumps([{"id": one.id} for one in images]).encode()
    answer = thief.ask_index("PUT", "/v1/repositories/other/stolen/", listed)
    headers = {"Authorization": f"Token {answer.header('X-Docker-Token')}"}
    tag = "/v1/repositories/other/stolen/tags/latest"
    assert raw.put(server, tag, f'"{top.id}"'.encode(), headers).status == 404
    path = f"/v1/repositories/other/stolen/layer/{top.id}/access"
    assert raw.get(server, path, headers).json() == {"access": False}


def test_private_from_the_start(tmp_path: Path) -> None:
    url = seeded_file(tmp_path)
    env = {"INDEX_DATABASE": url, "INDEX_PRIVATE": "true"}
    with Server(tmp_path / "store", env=env) as server:
        engine(server, "writer").push("team/born-private", [image("born private")])
        denied(engine(server).ask_index("GET", "/v1/repositories/team/born-private/images"))
        path = "/v1/repositories/team/born-private/properties"
        answer = raw.get(server, path, basic("reader", PASSWORD))
        assert answer.json() == {"access": "private"}
        assert (server.store / "repositories" / "team" / "born-private" / "_private").exists()
        change = raw.put(server, path, b'{"access": "public"}', basic("owner", PASSWORD))
        assert change.status == 200
        assert engine(server).pull("team/born-private")
        engine(server, "writer").push("team/born-private", [image("born private")])
        assert engine(server).pull("team/born-private")  # the repository stays public


def test_deleting_as_the_specification_says(server: Server) -> None:
    one = image("deleting")
    owner = engine(server, "owner")
    owner.push("team/deleting", [one])
    for user, status in [("", 401), ("writer", 403)]:
        answer = engine(server, user).ask_index("DELETE", "/v1/repositories/team/deleting/")
        assert answer.status == status
    owner.delete("team/deleting")
    answer = owner.ask_index("GET", "/v1/repositories/team/deleting/images")
    assert answer.status == 404
    assert owner.search("deleting") == []
    # without a request for a token, the client means the registry
    owner.push("team/deleting", [one])
    path = "/v1/repositories/team/deleting/"
    assert raw.delete(server, path, basic("writer", PASSWORD)).status == 403
    assert raw.delete(server, path, basic("owner", PASSWORD)).status == 200


# -- search and lists ------------------------------------------------------------------------------


def test_search(server: Server) -> None:
    owner = engine(server, "owner")
    owner.push("team/searched", [image("searched")])
    owner.push("team/searched-secret", [image("searched secret")])
    change = {"is_private": True, "description": "hidden"}
    path = "/v1/index/repositories/team/searched-secret"
    answer = raw.put(server, path, json.dumps(change).encode(), basic("owner", PASSWORD) | JSON)
    expect(answer, 204)
    raw.put(server, "/v1/index/stars/team/searched", b"", basic("other", PASSWORD))
    found = {
        "name": "team/searched", "description": "", "star_count": 1, "is_official": False,
        "is_trusted": False,
    }  # fmt: skip
    assert engine(server).search("searched") == [found]
    assert [r["name"] for r in engine(server, "reader").search("searched")] == [
        "team/searched", "team/searched-secret",
    ]  # fmt: skip
    assert engine(server, "other").search("hidden") == []
    # only text values, which old engines require
    for agent in ("docker/0.6.5 go/go1.1", "Go http package", "", "docker/0.5.3"):
        answer = raw.get(server, "/v1/search?q=searched", {"User-Agent": agent})
        assert answer.json()["results"] == [{"name": "team/searched", "description": ""}]
    for agent in ("docker/0.6.7 go/go1.1", "docker/0.10.0", "docker/1.12.6", "curl/7"):
        answer = raw.get(server, "/v1/search?q=searched", {"User-Agent": agent})
        assert answer.json()["results"] == [found]


def test_pages_of_a_search(server: Server) -> None:
    owner = engine(server, "owner")
    one = image("paged")
    for number in range(5):
        owner.push(f"team/paged{number}", [one])
    answer = raw.get(server, "/v1/search?q=paged&n=2&page=2").json()
    assert [result["name"] for result in answer["results"]] == ["team/paged2", "team/paged3"]
    assert (answer["num_results"], answer["query"]) == (5, "paged")
    assert (answer["page"], answer["page_size"], answer["num_pages"]) == (2, 2, 3)
    whole = raw.get(server, "/v1/search?q=paged").json()
    assert len(whole["results"]) == whole["num_results"] == 5
    assert (whole["page"], whole["num_pages"], whole["page_size"]) == (1, 1, 100_000)
    for query in ("n=0", "n=99999999999999999999", "page=0", "n=1&page=99999999999999999999"):
        assert raw.get(server, f"/v1/search?q=paged&{query}").status == 200
    for query in ("n=-1", "n=x", "page=1.5", "n=%C2%B2"):
        answer = raw.get(server, f"/v1/search?q=paged&{query}")
        assert (answer.status, set(answer.json())) == (400, {"error"})


def test_all_repositories(server: Server) -> None:
    owner = engine(server, "owner")
    one = image("listed")
    for name in ("team/zz-listed", "team/zz-listed2", "team/zz-private"):
        owner.push(name, [one])
    body = b'{"is_private": true}'
    headers = basic("owner", PASSWORD) | JSON
    expect(raw.put(server, "/v1/index/repositories/team/zz-private", body, headers), 204)

    def listed(user: str | None) -> list[dict[str, Any]]:
        path, found = "/v1/index/repositories?n=1&after=team/zz", []
        while path:
            answer = expect(raw.get(server, path, basic(user, PASSWORD)))
            found += answer.json()["repositories"]
            link = answer.header("Link") or ""
            assert link == "" or link.endswith('>; rel="next"')
            path = link.removeprefix("<").partition(">")[0]
        return found

    public = [item["name"] for item in listed(None)]
    assert public == ["team/zz-listed", "team/zz-listed2"]
    assert [item["name"] for item in listed("reader")] == [*public, "team/zz-private"]
    first = listed(None)[0]
    assert first["tags"] == {"latest": one.id}
    assert {"description", "stars", "pulls", "is_official", "created", "updated"} < set(first)


# -- tools and web pages -----------------------------------------------------------------------------


def test_repository_details(server: Server) -> None:
    engine(server, "owner").push("team/facts", [image("facts")])
    path = "/v1/index/repositories/team/facts"

    def change(user: str | None, **given: object) -> raw.Answer:
        return raw.put(server, path, json.dumps(given).encode(), basic(user, PASSWORD) | JSON)

    assert change("owner", description="short", full_description="# long").status == 204
    assert change("root", is_official=True, is_automated=True).status == 204
    found = raw.get(server, path).json()
    assert (found["description"], found["full_description"]) == ("short", "# long")
    assert (found["is_official"], found["is_automated"], found["name"]) == (
        True,
        True,
        "team/facts",
    )
    for user, status in [(None, 401), ("other", 403), ("writer", 403)]:
        assert change(user, description="x").status == status
    assert change("owner", is_official=True).status == 403
    for given in (
        {"description": 5}, {"description": "x" * 256}, {"is_private": "yes"}, {"stars": 100},
        {"description": "a\0b"}, {"name": "other/name"},
    ):  # fmt: skip
        answer = change("owner", **given)
        assert (answer.status, set(answer.json())) == (400, {"error"}), given
    for body in (b"", b"[]", b"{"):
        assert raw.put(server, path, body, basic("owner", PASSWORD) | JSON).status == 400
    assert change("owner").status == 204  # no change
    assert raw.get(server, "/v1/index/repositories/team/none").status == 404


def test_stars_and_comments(server: Server) -> None:
    engine(server, "owner").push("team/liked", [image("liked")])
    star, comments = "/v1/index/stars/team/liked", "/v1/index/comments/team/liked"
    reader, other = basic("reader", PASSWORD), basic("other", PASSWORD)
    for _ in range(2):
        assert raw.put(server, star, b"", reader).status == 204
    assert raw.get(server, star, reader).json() == {"starred": True}
    assert raw.get(server, star, other).json() == {"starred": False}
    assert raw.get(server, "/v1/index/repositories/team/liked").json()["stars"] == 1
    starred = raw.get(server, "/v1/index/stars?n=1", reader).json()["repositories"]
    assert starred == ["team/liked"]
    assert raw.delete(server, star, reader).status == 204
    denied(raw.put(server, star))
    denied(raw.get(server, "/v1/index/stars"))

    def comment(text: object, by: dict[str, str]) -> raw.Answer:
        return raw.request(server, "POST", comments, by | JSON, json.dumps({"text": text}).encode())

    ids = [expect(comment(f"number {n}", reader), 201).json()["id"] for n in range(3)]
    page = raw.get(server, f"{comments}?n=2")
    assert [c["text"] for c in page.json()["comments"]] == ["number 0", "number 1"]
    assert page.header("Link") == f'<{comments}?n=2&after={ids[1]}>; rel="next"'
    page = raw.get(server, f"{comments}?n=2&after={ids[1]}")
    assert [c["account"] for c in page.json()["comments"]] == ["reader"]
    assert page.header("Link") is None
    assert raw.delete(server, f"{comments}?id={ids[0]}", other).status == 404
    assert raw.delete(server, f"{comments}?id={ids[0]}", reader).status == 204
    assert raw.delete(server, f"{comments}?id={ids[1]}", basic("owner", PASSWORD)).status == 204
    denied(comment("x", {}))
    for text in ("", 5, None, "x" * 5000):
        assert comment(text, reader).status == 400
    for path in ("/v1/index/stars/team/none", "/v1/index/comments/team/none"):
        assert raw.get(server, path, reader).status == 404


def test_keys(server: Server) -> None:
    engine(server).ask_index("GET", "/v1/repositories/team/liked/images")
    [key] = raw.get(server, "/v1/index/keys").json()["keys"]
    assert (len(key["id"]), len(key["public"])) == (16, 43)
    assert set(key) == {"id", "public"}


def test_pulls_are_counted(tmp_path: Path) -> None:
    url = seeded_file(tmp_path)
    env = {"INDEX_DATABASE": url}
    with Server(tmp_path / "store", workers=2, env=env) as server:
        owner = engine(server, "owner")
        owner.push("team/counted", [image("counted")])
        for _ in range(5):
            engine(server).pull("team/counted")
        raw.get(server, "/v1/repositories/team/counted/images")  # a tool, which does not pull
        server.stop()
        server.restart()
        assert raw.get(server, "/v1/index/repositories/team/counted").json()["pulls"] == 5


def test_no_secrets_in_the_log(server: Server, secret: str) -> None:
    engine(server, "writer").push("team/logged", [image("logged")])
    Engine([server], "robot", secret).login()
    for word in (PASSWORD, secret, "signature="):
        assert word not in server.log
