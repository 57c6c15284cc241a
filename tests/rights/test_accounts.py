"""Alone with accounts, over the wire: logins, pushes and pulls, guesses, changed files, proxies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.needs import require
from tests.protocol import engine
from tests.protocol.engine import image
from tests.redisserver import Redis
from tests.rights.accounts import PASSWORD, Client, basic, environment, hashed, password_file
from tests.waiting import wait_for

RULES = [
    {"who": "anybody", "repositories": "open/*", "allow": "pull"},
    {"who": "users", "repositories": "open/*", "allow": ["pull", "push"]},
    {"who": "users", "repositories": "{user}/*", "allow": ["pull", "push", "delete"]},
    {"who": "ada", "repositories": "open/deleted", "allow": "delete"},
]
CHALLENGE = 'Basic realm="Docker registry"'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("accounts")
    file = password_file(folder, ["ada", "bob", "cy"])
    with Server(
        folder / "store", workers=2, env=environment(file, RULES, LOGLEVEL="debug")
    ) as running:
        yield running


@pytest.fixture
def ada(server: Server) -> Client:
    return Client(server, basic("ada"))


@pytest.fixture
def bob(server: Server) -> Client:
    return Client(server, basic("bob"))


@pytest.fixture
def nobody(server: Server) -> Client:
    return Client(server, {"Authorization": "Basic Og=="})  # as engines without a login send it


def test_login(server: Server, ada: Client, nobody: Client) -> None:
    body = json.dumps({"username": "ada", "password": PASSWORD, "email": "a@b.c"}).encode()
    created = raw.request(server, "POST", "/v1/users/", (), body)
    # just this, quotes included: engines up to 1.10 go on to ask whether they may come in
    assert (created.status, created.body) == (400, b'"Username or email already exists"')
    engine.expect(ada.ask("GET", "/v1/users/"))
    for headers in ({}, nobody.headers, basic("ada", "wrong"), basic("eve"), basic("ada", "")):
        answer = raw.get(server, "/v1/users/", headers)
        assert (answer.status, answer.json()) == (401, {"error": "Requires authorization"})
        assert answer.header("WWW-Authenticate") == CHALLENGE
    engine.expect(ada.ask("PUT", "/v1/users/ada/", b"{}"), 403)


def test_push_and_pull(ada: Client, bob: Client, nobody: Client) -> None:
    base = image("accounts base")
    images = [base, image("accounts top", base)]
    layers = {one.id: one.layer for one in images}
    assert ada.push("open/app", images) == [one.id for one in images]
    for client in (ada, bob, nobody):
        assert client.pull("open/app") == layers
    assert ada.push("ada/app", images) == []
    assert ada.pull("ada/app") == layers
    engine.expect(bob.ask("GET", "/v1/repositories/ada/app/tags"), 404)
    engine.expect(nobody.ask("GET", "/v1/repositories/ada/app/tags"), 401)
    engine.expect(bob.ask("PUT", "/v1/repositories/ada/app/", b"[]"), 403)
    engine.expect(nobody.ask("PUT", "/v1/repositories/open/app/", b"[]"), 401)
    engine.expect(nobody.ask("PUT", base.path("json"), base.json), 401)


def test_answers_are_cached_for_who_got_them(ada: Client, nobody: Client) -> None:
    one = image("accounts caching")
    ada.push("open/caching", [one])
    for client, scope in ((ada, "private"), (nobody, "public")):
        for part in ("json", "layer", "ancestry", "files", "diff"):
            for more in ({}, {"If_Modified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"}):
                answer = client.ask("GET", one.path(part), **more)
                assert answer.header("Cache-Control") == f"{scope}, max-age=31536000", str(answer)


def test_wrong_credentials_never_fall_back_to_nobody(server: Server, ada: Client) -> None:
    ada.push("open/fallback", [image("accounts fallback")])
    wrong = Client(server, basic("ada", "wrong"))
    engine.expect(wrong.ask("GET", "/v1/repositories/open/fallback/tags"), 401)
    token = {"Authorization": 'Token signature=A,repository="ada/x",access=write'}
    engine.expect(raw.get(server, "/v1/repositories/ada/x/tags", token), 401)
    engine.expect(raw.get(server, "/v1/repositories/open/fallback/tags", token))


# -- theft ------------------------------------------------------------------------------


def test_theft(server: Server, ada: Client, bob: Client) -> None:
    """List, 409, tag and pull a private image by its id."""
    base = image("theft base")
    top = image("theft top", base)
    ada.push("ada/secret", [base, top])
    listed = json.dumps([{"id": one.id, "Tag": "latest"} for one in (base, top)]).encode()
    engine.expect(bob.ask("PUT", "/v1/repositories/bob/loot/", listed))
    for one in (base, top):
        for part in ("json", "ancestry", "layer", "files", "diff"):
            for more in ({}, {"If_Modified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"}):
                answer = bob.ask("GET", one.path(part), **more)
                assert (answer.status, answer.json()) == (404, {"error": "Image not found"})
        bob.tag("bob/loot", one.id, status=404)
        # a JSON that has only the id in common gets the response for an unknown image: no 409
        guess = json.dumps({"id": one.id}).encode()
        engine.expect(bob.ask("PUT", one.path("json"), guess))
        engine.expect(bob.ask("PUT", one.path("layer"), b"guess"))
        assert bob.finish(one, 400).json() == {"error": "Checksum mismatch"}
        bob.tag("bob/loot", one.id, status=404)
    child = image("theft child", top)
    refused = bob.ask("PUT", child.path("json"), child.json)
    assert (refused.status, refused.json()) == (
        400,
        {"error": "Image depends on a non existing parent"},
    )
    engine.expect(bob.ask("PUT", "/v1/repositories/bob/loot/images", b"[]"), 204)
    assert bob.ask("GET", "/v1/repositories/bob/loot/tags").json() == {}
    assert ada.pull("ada/secret") == {base.id: base.layer, top.id: top.layer}


def test_a_user_pushes_a_base_image_that_is_hidden_from_the_user(
    ada: Client, bob: Client, server: Server
) -> None:
    base = image("shared base")
    ada.push("ada/base", [base])
    top = image("bob's top", base)
    assert bob.push("bob/app", [base, top]) == [base.id, top.id]
    assert bob.pull("bob/app") == {base.id: base.layer, top.id: top.layer}
    again = image("bob's other", base)
    assert bob.push("bob/app", [base, again], "other") == [again.id]


def refused_soon(client: Client, path: str) -> None:
    """Wait until both processes have forgotten the rights that they remember for some seconds."""
    end, refused = time.monotonic() + 20, 0
    while refused < 10:
        refused = 0 if client.ask("GET", path).status == 200 else refused + 1
        assert time.monotonic() < end
        time.sleep(0.05)


def test_deleted_repositories_cannot_be_read(ada: Client, bob: Client) -> None:
    one = image("accounts deleted")
    ada.push("open/deleted", [one])
    engine.expect(bob.ask("GET", one.path("json")))
    engine.expect(ada.ask("DELETE", "/v1/repositories/open/deleted/tags/latest"))
    refused_soon(bob, one.path("json"))
    bob.tag("bob/app", one.id, status=404)


def test_a_private_repository_is_private_soon(ada: Client, bob: Client, nobody: Client) -> None:
    one = image("accounts flagged")
    ada.push("open/flagged", [one])
    engine.expect(nobody.ask("GET", one.path("layer")))
    path = "/v1/repositories/open/flagged/properties"
    engine.expect(ada.ask("PUT", path, b'{"access": "private"}'))
    assert ada.ask("GET", path).json() == {"access": "private"}
    for asked in (one.path("layer"), "/v1/repositories/open/flagged/tags"):
        refused_soon(nobody, asked)
    engine.expect(bob.ask("GET", one.path("layer")))  # by a rule for who has an account


def test_no_password_is_logged(server: Server) -> None:
    guess = basic("ada", "a hush guess")
    for path in ("/v1/users/", "/v1/repositories/ada/app/tags?password=hush", "/v1/_ping"):
        raw.get(server, path, guess)
    body = json.dumps({"username": "ada", "password": "hush in a body"}).encode()
    raw.request(server, "POST", "/v1/users/", guess, body)
    raw.request(server, "POST", "/v1/users/", guess, body[:-1])
    for secret in (PASSWORD, basic("ada")["Authorization"][6:], guess["Authorization"][6:], "hush"):
        assert secret not in server.log


# -- passwords ------------------------------------------------------------------------------


def test_a_changed_password_file_is_read_again(tmp_path: Path) -> None:
    file = password_file(tmp_path, ["ada", "bob"])
    with Server(tmp_path / "store", env=environment(file)) as server:

        def becomes(user: str, password: str, status: int) -> None:
            wait_for(
                lambda: raw.get(server, "/v1/users/", basic(user, password)).status == status,
                15,
                lambda: f"{user}: {server.log}",
            )

        def logged(text: str) -> bool:
            assert raw.get(server, "/v1/users/", basic("cy", "hers")).status == 200
            return text in server.log

        assert raw.get(server, "/v1/users/", basic("ada")).status == 200
        file.write_text(f"ada:{hashed('another')}\ncy:{hashed('hers')}\n")
        becomes("ada", "another", 200)
        becomes("ada", PASSWORD, 401)  # though it was right a moment ago
        becomes("cy", "hers", 200)
        becomes("bob", PASSWORD, 401)
        # an unreadable file changes nothing
        file.write_text("ada:plain text\n")
        wait_for(lambda: logged("line 1 holds no bcrypt hash"))
        file.unlink()
        wait_for(lambda: logged("No such file"))
        file.write_text(f"ada:{hashed('third')}\n")
        os.utime(file, (0, 0))
        becomes("ada", "third", 200)
        becomes("cy", "hers", 401)
        assert "plain text" not in server.log


def test_wrong_passwords_are_limited(tmp_path: Path) -> None:
    file = password_file(tmp_path, ["ada", "bob"])
    env = environment(file, ACCOUNTS_ATTEMPTS="3", ACCOUNTS_REMEMBER="0")
    with Server(tmp_path / "store", env=env) as server:
        assert raw.get(server, "/v1/users/", basic("bob")).status == 200
        answers = [raw.get(server, "/v1/users/", basic("ada", f"guess {n}")) for n in range(5)]
        assert [answer.status for answer in answers] == [401, 401, 401, 429, 429]
        assert 0 < int(answers[-1].header("Retry-After") or 0) <= 120
        # ada's correct password is refused too; bob has logged in from here before and succeeds
        assert raw.get(server, "/v1/users/", basic("ada")).status == 429
        assert raw.get(server, "/v1/users/", basic("bob")).status == 200
        assert raw.get(server, "/v1/_ping").status == 200


def guesses(server: Server, user: str, number: int) -> list[int]:
    """The statuses of wrong passwords, each on a connection of its own, sent two at a time."""
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(
            lambda n: raw.get(server, "/v1/users/", basic(user, f"guess {n}")).status, range(number)
        )
        return list(found)


def right(server: Server, user: str, number: int = 24) -> list[int]:
    """The statuses of the right password, on as many connections: each worker takes some."""
    return [raw.get(server, "/v1/users/", basic(user)).status for _ in range(number)]


def test_all_processes_count_wrong_passwords_together(tmp_path: Path) -> None:
    names = ["ada", "bob", "cy"]
    env = environment(password_file(tmp_path, names), ACCOUNTS_ATTEMPTS="10")
    with Server(tmp_path / "store", workers=4, env=env) as server:
        assert right(server, "bob") == [200] * 24
        assert sorted(guesses(server, "ada", 40)) == [401] * 10 + [429] * 30
        assert right(server, "ada") == [429] * 24
        # bob has logged in from here before, so only the 10 wrong passwords for bob count
        assert right(server, "bob") == [200] * 24
        assert sorted(guesses(server, "bob", 20)) == [401] * 10 + [429] * 10
        assert right(server, "bob") == [429] * 24  # though some processes remember the password
        # the limit for the address is 30: ada's 10 count for it, bob's do not
        others = [guesses(server, f"other {n}", 1)[0] for n in range(25)]
        assert others == [401] * 20 + [429] * 5
        assert right(server, "cy") == [429] * 24


def test_counts_survive_a_reload_and_the_death_of_workers(tmp_path: Path) -> None:
    env = environment(password_file(tmp_path, ["ada"]), ACCOUNTS_ATTEMPTS="3")
    with Server(tmp_path / "store", workers=2, env=env) as server:
        assert sorted(guesses(server, "ada", 4)) == [401] * 3 + [429]
        before = server.worker_pids()
        os.kill(before[0], signal.SIGKILL)
        os.kill(server.pid, signal.SIGHUP)
        wait_for(
            lambda: len(now := server.worker_pids()) == 2 and not set(now) & set(before),
            30,
            lambda: server.log,
        )
        assert right(server, "ada", 8) == [429] * 8


def test_concurrent_correct_passwords_in_many_processes(tmp_path: Path) -> None:
    """More processes than attempts: none may be refused because others still compute."""
    import bcrypt

    slow = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(11)).decode()
    (tmp_path / "htpasswd").write_text(f"ada:{slow}\n")
    env = environment(tmp_path / "htpasswd", ACCOUNTS_ATTEMPTS="1")
    with Server(tmp_path / "store", workers=4, env=env) as server:
        with ThreadPoolExecutor(32) as pool:
            found = pool.map(lambda _: right(server, "ada", 1)[0], range(32))
            assert list(found) == [200] * 32


def test_nodes_with_redis_count_together(tmp_path: Path) -> None:
    require("redis")
    env = environment(password_file(tmp_path, ["ada", "bob"]), ACCOUNTS_ATTEMPTS="10")
    store = tmp_path / "store"
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(Redis(tmp_path / "redis"))
        nodes = [
            stack.enter_context(Server(store, workers=2, env=env | redis.env)) for _ in range(2)
        ]
        assert [status for node in nodes for status in right(node, "bob")] == [200] * 48
        assert [guesses(node, "ada", 5) for node in nodes] == [[401] * 5] * 2
        assert [status for node in nodes for status in right(node, "ada")] == [429] * 48
        assert [guesses(node, "bob", 5) for node in nodes] == [[401] * 5] * 2
        assert [status for node in nodes for status in right(node, "bob")] == [429] * 48


def test_many_requests_of_one_engine_compute_one_hash(tmp_path: Path) -> None:
    """The file's hash takes a second; 20 requests at once must not take 20."""
    import bcrypt

    slow = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(13)).decode()
    (tmp_path / "htpasswd").write_text(f"ada:{slow}\n")
    env = environment(tmp_path / "htpasswd", ACCOUNTS_ATTEMPTS="2")
    with Server(tmp_path / "store", env=env) as server:
        found: list[int] = []
        threads = [
            threading.Thread(
                target=lambda: found.append(raw.get(server, "/v1/users/", basic("ada")).status)
            )
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        pinged = time.monotonic()
        assert raw.get(server, "/v1/_ping").status == 200
        pinged = time.monotonic() - pinged
        for thread in threads:
            thread.join(60)
        # an attempt for each request would exceed the limit of 2
        assert found == [200] * 20


# -- a trusted proxy names the users -------------------------------------------------------------


def test_a_header_of_a_trusted_proxy(tmp_path: Path) -> None:
    rules = [
        {"who": "@ops", "repositories": "*", "allow": ["pull", "push"]},
        {"who": "m\u00fcller", "repositories": "open/*", "allow": "pull"},
    ]
    env = environment(None, rules, ACCOUNTS_USER_HEADER="X-Remote-User",
                      ACCOUNTS_GROUPS_HEADER="X-Remote-Groups")  # fmt: skip
    with Server(tmp_path / "store", env=env) as server:
        ops = Client(server, {"X-Remote-User": "eve", "X-Remote-Groups": "dev, ops"})
        ops.push("open/app", [image("by header")])
        name = "m\u00fcller".encode().decode("latin-1")
        engine.expect(raw.get(server, "/v1/repositories/open/app/tags", {"X-Remote-User": name}))
        for headers, status in [
            ({}, 401),
            ({"X-Remote-User": ""}, 401),
            ({"X-Remote-User": "\xff"}, 401),
            ({"X-Remote-User": "eve"}, 404),
            ({"X-Remote-Groups": "ops"}, 401),
            (basic("eve"), 401),
            ({"X-Remote-User": "@ops"}, 404),
            ({"X_Remote_User": "eve", "X_Remote_Groups": "ops"}, 401),
        ]:
            answer = raw.get(server, "/v1/repositories/open/app/tags", headers)
            assert answer.status == status, headers
    with Server(tmp_path / "store", env={**env, "TRUSTED_PROXIES": "10.9.8.7"}) as server:
        answer = raw.get(server, "/v1/repositories/open/app/tags", ops.headers)
        assert answer.status == 401


def test_anonymous_clients_may_read_and_not_write(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Server(store) as server:
        engine.push(server, "open/app", [image("read by all")], ["latest"])
    rules = [{"who": "anybody", "repositories": "*", "allow": "pull"}]
    with Server(store, env=environment(None, rules)) as server:
        client = Client(server, {})
        assert client.pull("open/app")
        engine.expect(client.ask("PUT", "/v1/repositories/open/app/", b"[]"), 403)
        engine.expect(client.ask("GET", f"/v1/images/{'0' * 64}/json"), 404)
        engine.expect(client.ask("GET", "/v1/users/"))
