"""An index in a process of its own, two registries on one store, and what they tell each other;
many workers on an empty database; and a database that fails under a serving index.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import raw
from tests.backends.postgres import Postgres
from tests.index.conftest import PASSWORD, open_database
from tests.index.engines import Engine
from tests.index.test_server import denied, seeded
from tests.live_server import Server, StartError, free_port
from tests.protocol.engine import expect, image
from tests.rights.accounts import JSON, basic
from tests.tls import make_certificate
from tests.waiting import wait_for
from v1registry.index.tokenkeys import TokenKeys
from v1registry.lib.auth import tokens


@dataclass(frozen=True)
class Site:
    """A separate index and its registries."""

    index: Server
    registries: list[Server]

    def engine(self, user: str = "", **more: Any) -> Engine:
        password = PASSWORD if user else ""
        return Engine([self.index, *self.registries], user, password, **more)


def key(url: str) -> str:
    """Return the public part of the signing key."""
    database = open_database(url)
    keys = TokenKeys(database)
    keys.ensure()
    public = keys.all()[0].public
    database.close()
    return public


@pytest.fixture(
    scope="module",
    params=["asked over TLS", "one database", pytest.param("alone", marks=pytest.mark.heavy)],
)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Yield sites whose registries ask the index about each token, or check its signature."""
    folder = tmp_path_factory.mktemp("site")
    tls = None
    if request.param == "asked over TLS":
        made = make_certificate(folder / "tls")
        tls = (made.certificate, made.key)
    url = f"sqlite:///{folder}/index.db"
    if request.param != "alone":
        url = request.getfixturevalue("postgres").database()
    seeded(url)
    ports = [free_port() for _ in range(2)]
    env = {
        "INDEX_DATABASE": url,
        "INDEX_ALONE": "true",
        "INDEX_SIGN_UP": "open",
        "REGISTRY_ENDPOINTS": ",".join(f"127.0.0.1:{port}" for port in ports),
        "ACCOUNTS_ATTEMPTS": "0",
    }
    with ExitStack() as stack:
        index = stack.enter_context(Server(folder / "no-store", env=env, tls=tls))
        trusting = {"STANDALONE": "false", "INDEX_ENDPOINT": index.url, "INDEX_REMEMBER": "1s"}
        if tls is not None:
            trusting["INDEX_CA"] = str(tls[0])
        if request.param in ("alone", "one database"):
            trusting = {"STANDALONE": "false", "INDEX_KEYS": key(url)}
        if request.param == "one database":
            trusting["INDEX_DATABASE"] = url
        registries = [
            stack.enter_context(Server(folder / "store", env=trusting, tls=tls, port=port))
            for port in ports
        ]
        yield Site(index, registries)


# -- three processes ------------------------------------------------------------------------------


def test_the_index_and_registries_answer_their_own_requests(site: Site) -> None:
    for server in (site.index, *site.registries):
        answer = raw.get(server, "/v1/_ping")
        assert answer.header("X-Docker-Registry-Standalone") == "False"
    assert raw.get(site.index, "/_status").json()["services"] == ["database"]
    one = image("who answers")
    for method, path in [
        ("GET", one.path("json")), ("PUT", one.path("layer")),
        ("GET", "/v1/repositories/team/app/tags"), ("PUT", "/v1/repositories/team/app/tags/x"),
    ]:  # fmt: skip
        answer = raw.request(site.index, method, path, basic("root", PASSWORD))
        assert answer.status == 404, path
        assert (answer.header("Content-Type") or "").startswith("text/html")
    for server in site.registries:
        assert raw.get(server, "/v1/users/").status == 404
        assert raw.put(server, "/v1/repositories/team/app/", b"[]").status == 405
        denied_by_registry(raw.get(server, "/v1/repositories/team/app/tags"))


def denied_by_registry(answer: raw.Answer) -> None:
    assert (answer.status, answer.header("WWW-Authenticate")) == (401, "Token"), str(answer)


@pytest.mark.parametrize("version", ["0.10.0", "1.6.2", "1.12.6"])
def test_login_push_and_pull(site: Site, version: str) -> None:
    engine = site.engine(f"engine-{version}", version=version)
    assert engine.login(f"{version}@example.org") == 201
    assert engine.login(f"{version}@example.org") == 200
    base = image(f"three {version} base")
    images = [base, image(f"three {version} top", base)]
    layers = {one.id: one.layer for one in images}
    repository = f"engine-{version}/app"
    assert engine.push(repository, images) == [one.id for one in images]
    assert engine.pull(repository) == layers
    other_way = Engine([site.index, *site.registries[::-1]], engine.user, engine.password)
    assert other_way.pull(repository) == layers
    assert site.engine().pull(repository) == layers  # the repository is public
    assert site.engine("writer").push("team/again", images) == [one.id for one in images]
    assert engine.push(repository, images, "v2") == []


def test_other_users_are_refused(site: Site) -> None:
    one = image("three secret")
    site.engine("owner").push("team/secret3", [one])
    body = b'{"is_private": true}'
    path = "/v1/index/repositories/team/secret3"
    expect(raw.put(site.index, path, body, basic("owner", PASSWORD) | JSON), 204)
    assert site.engine("reader").pull("team/secret3") == {one.id: one.layer}
    answer = site.engine("other").ask_index("GET", "/v1/repositories/team/secret3/images")
    assert answer.status == 404
    denied(site.engine().ask_index("GET", "/v1/repositories/team/secret3/images"))
    # a token for the own repository, which lists the image, gives no right to it
    thief = site.engine("other")
    listed = f'[{{"id": "{one.id}"}}]'.encode()
    answer = expect(thief.ask_index("PUT", "/v1/repositories/other/mine/", listed))
    stolen = {"Authorization": f"Token {answer.header('X-Docker-Token')}"}
    registry = site.registries[0]
    tag = "/v1/repositories/other/mine/tags/latest"
    assert raw.put(registry, tag, f'"{one.id}"'.encode(), stolen).status == 404
    path = f"/v1/repositories/other/mine/layer/{one.id}/access"
    assert raw.get(site.index, path, stolen).json() == {"access": False}


def test_forged_and_replayed(site: Site) -> None:
    one = image("three forged")
    writer = site.engine("writer")
    writer.push("team/forged", [one])
    writer.push("team/forged-too", [one])
    answer = writer.ask_index("GET", "/v1/repositories/team/forged/images")
    good = answer.header("X-Docker-Token") or ""
    path = "/v1/repositories/team/{}/tags"
    own = tokens.Issuer(tokens.new_key())
    forged = own.issue(tokens.Token("team/forged", "read", int(time.time()) + 60, "root"))
    kid = good.partition("kid=")[2].partition(",")[0]
    for registry in site.registries:

        def asked(text: str, path: str, method: str = "GET", to: Server = registry) -> raw.Answer:
            return raw.request(to, method, path, {"Authorization": f"Token {text}"}, b'"x"')

        assert asked(good, path.format("forged")).status == 200
        denied_by_registry(asked(good, path.format("forged-too")))
        denied_by_registry(asked(good, path.format("forged"), "DELETE"))
        denied_by_registry(asked(good, path.format("forged") + "/v2", "PUT"))
        for text in (
            forged,
            forged.replace(own.key_id, kid),
            good.replace("team/forged", "team/forged-too"),
            good.replace("access=read", "access=delete"),
            good.replace("exp=1", "exp=2"),
            good + ",more=1",
        ):
            where = "forged-too" if "forged-too" in text else "forged"
            method = "DELETE" if "delete" in text else "GET"
            denied_by_registry(asked(text, path.format(where), method))


def test_deleting(site: Site) -> None:
    one = image("three deleting")
    owner = site.engine("owner")
    owner.push("team/deleting3", [one])
    assert [found["name"] for found in owner.search("deleting3")] == ["team/deleting3"]
    owner.delete("team/deleting3")
    assert owner.search("deleting3") == []
    assert owner.ask_index("GET", "/v1/repositories/team/deleting3/images").status == 404


def test_the_index_knows_the_tags_where_registries_tell_it(
    site: Site, request: pytest.FixtureRequest
) -> None:
    one = image("three tags")
    site.engine("owner").push("team/tags3", [one], "v7")
    found = raw.get(site.index, "/v1/index/repositories/team/tags3").json()
    told = "INDEX_DATABASE" in site.registries[0]._env
    assert found["tags"] == ({"v7": one.id} if told else {})


# -- many workers, one empty database ---------------------------------------------------------------


@pytest.mark.parametrize("kind", [pytest.param("sqlite", marks=pytest.mark.heavy), "postgresql"])
def test_eight_workers_start_on_an_empty_database(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """0.x's workers fell over each other (dr#829), until the operator gave them `--preload`.

    SQLite is tried so by many processes in test_database.py, too.
    """
    url = f"sqlite:///{tmp_path}/index.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").database()
    env = {"INDEX_DATABASE": url, "INDEX_SIGN_UP": "open", "GUNICORN_USER": "root",
           "ACCOUNTS_ATTEMPTS": "0"}  # fmt: skip
    with Server(tmp_path / "store", workers=8, env=env) as server:
        threads = []
        statuses: list[int] = []

        def sign_up(number: int) -> None:
            user = Engine([server], f"user{number % 8}", PASSWORD)
            statuses.append(user.login())

        for number in range(24):
            threads.append(threading.Thread(target=sign_up, args=(number,)))
            threads[-1].start()
        for thread in threads:
            thread.join(60)
        assert sorted(statuses) == [*[200] * 16, *[201] * 8]
        assert "Traceback" not in server.log


def test_a_search_of_many_workers_without_an_index(postgres: Postgres, tmp_path: Path) -> None:
    """The configuration of 0.x: `sqlalchemy_index_database` and no accounts."""
    env = {"SQLALCHEMY_INDEX_DATABASE": postgres.database(), "SEARCH_BACKEND": "sqlalchemy"}
    with Server(tmp_path / "store", workers=4, env=env) as server:
        one = image("searched by many")
        engine = Engine([server])
        for number in range(6):
            engine.push(f"team/app{number}", [one])
            found = [result["name"] for result in engine.search("app")]
            assert found == [f"team/app{n}" for n in range(number + 1)]
        assert raw.delete(server, "/v1/repositories/team/app0/").status == 200
        expect(raw.put(server, "/v1/repositories/team/app1/properties", b'{"access": "private"}'))
        assert len(engine.search("app")) == 4
        listed = raw.get(server, "/v1/index/repositories?n=1&after=team/app2").json()[
            "repositories"
        ]
        assert listed == [{"name": "team/app3", "tags": {"latest": one.id}}]
        assert raw.get(server, "/v1/users/").status == 200  # no accounts


def test_repositories_of_an_existing_store_are_added(tmp_path: Path) -> None:
    one = image("there before")
    with Server(tmp_path / "store") as server:
        Engine([server]).push("team/before", [one])
    env = {"INDEX_DATABASE": f"sqlite:///{tmp_path}/index.db"}
    with Server(tmp_path / "store", workers=2, env=env) as server:
        wait_for(lambda: Engine([server]).search("before"), 30, lambda: server.log)
        assert Engine([server]).pull("team/before") == {one.id: one.layer}


# -- a database that fails --------------------------------------------------------------------------


def test_a_database_that_stops_and_starts_again(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.database()
    seeded(url)
    env = {"INDEX_DATABASE": url, "INDEX_DATABASE_TIMEOUT": "2s", "ACCOUNTS_REMEMBER": "0"}
    with Server(tmp_path / "store", env=env) as server:
        one = image("goes and comes")
        Engine([server], "writer", PASSWORD).push("team/app", [one])
        postgres.stop()
        try:
            for path in ("/v1/users/", "/v1/repositories/team/app/images"):
                answer = raw.get(server, path, basic("writer", PASSWORD))
                assert answer.status == 503
                assert answer.json() == {"error": "The index does not answer, retry later"}
                assert answer.header("Retry-After")
            assert raw.get(server, "/v1/_ping").status == 200
            status = raw.get(server, "/_status")
            assert (status.status, list(status.json()["failures"])) == (503, ["database"])
        finally:
            postgres.start()
        assert Engine([server], "writer", PASSWORD).pull("team/app") == {one.id: one.layer}


def test_a_database_that_hangs_does_not_stop_other_requests(
    postgres: Postgres, tmp_path: Path
) -> None:
    """One process has one database connection that never answers, and serves other requests."""
    url = postgres.database()
    seeded(url)
    env = {"INDEX_DATABASE": url, "INDEX_DATABASE_TIMEOUT": "3s", "ACCOUNTS_REMEMBER": "0"}
    env["GUNICORN_OPTS"] = "[--preload]"  # the workaround for 0.x
    with Server(tmp_path / "store", env=env) as server:
        assert "--preload is ignored" in server.log
        assert Engine([server], "writer", PASSWORD).login() == 200
        statuses: list[int] = []

        def login() -> None:
            statuses.append(raw.get(server, "/v1/users/", basic("writer", PASSWORD)).status)

        with postgres.standing_still():
            threads = [threading.Thread(target=login) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.3)
            slowest = 0.0
            for _ in range(20):
                began = time.monotonic()
                assert raw.get(server, "/v1/_ping").status == 200
                slowest = max(slowest, time.monotonic() - began)
            assert statuses == []  # they still wait, and the pings did not
            for thread in threads:
                thread.join(30)
            assert statuses == [503] * 4
        assert slowest < 2
        assert Engine([server], "writer", PASSWORD).login() == 200


def test_a_start_without_the_database(postgres: Postgres, tmp_path: Path) -> None:
    """A compose file starts both at once, so the registry does not wait for the database."""
    url = postgres.database()
    postgres.stop()
    try:
        env = {"INDEX_DATABASE": url, "INDEX_DATABASE_TIMEOUT": "2s", "INDEX_SIGN_UP": "open"}
        server = Server(tmp_path / "store", env=env)
    finally:
        postgres.start()
    with server:
        assert "the index's database does not answer; servers try again" in server.log
        assert Engine([server], "alice", PASSWORD).login() == 201


def test_a_database_file_that_cannot_be_created_stops_the_start(tmp_path: Path) -> None:
    env = {"INDEX_DATABASE": f"sqlite:///{tmp_path}/none/index.db"}
    with pytest.raises(StartError, match=r"the index's database cannot be used: .*No such file"):
        Server(tmp_path / "store", env=env)


def test_a_database_of_a_later_version_stops_the_start(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/index.db"
    database = open_database(url)
    database.prepare()
    database.write(lambda c: c.exec_driver_sql("UPDATE v1registry_schema SET version = 99"))
    database.close()
    with pytest.raises(StartError, match=r"index\.database: the database has version 99"):
        Server(tmp_path / "store", env={"INDEX_DATABASE": url})
