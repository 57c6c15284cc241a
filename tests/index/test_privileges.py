"""The privilege table again, with an index of our own: every endpoint, asked by everybody and with
every kind of token, of a public and of a private repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import raw
from tests.index.conftest import PASSWORD, here, open_database
from tests.live_server import Server
from tests.protocol import engine, seed
from tests.rights import test_privileges as alone
from tests.rights.accounts import JSON, basic
from tests.rights.test_privileges import (
    ADMINISTRATOR,
    ALL,
    DELETE,
    MAY,
    PULL,
    PUSH,
    ROLES,
    Row,
    World,
)
from tests.test_upgrade import command
from v1registry.api.v1 import image_lists, repositories, repository_routes
from v1registry.app import create_app
from v1registry.config import load_config
from v1registry.index.accounts import AccountStore
from v1registry.index.namespaces import Namespaces

CHALLENGE = 'Basic realm="auth required",Token'
SEE, ACCOUNT = (
    "see",
    "account",
)  # visible repositories, else 404; any account, on visible repositories

TABLE = {key: row for key, row in alone.TABLE.items() if not key[0].startswith("users.")}
TABLE = {
    ("accounts.login", "GET"): Row("login", 200),
    ("accounts.create_user", "POST"): Row(ALL, 400, body=b"{}"),
    # the own account: a wrong one is used here
    ("accounts.update_user", "PUT"): Row(DELETE + " of nobody's", 403, body=b"{}"),
    ("catalog.repository", "GET"): Row(SEE, 200),
    ("catalog.change", "PUT"): Row(DELETE, 204, body=b"{}"),
    ("catalog.starred", "GET"): Row("login", 200),
    ("catalog.star", "GET"): Row(ACCOUNT, 200),
    ("catalog.star", "PUT"): Row(ACCOUNT, 204),
    ("catalog.star", "DELETE"): Row(ACCOUNT, 204),
    ("catalog.comments", "GET"): Row(SEE, 200),
    ("catalog.comment", "POST"): Row(ACCOUNT, 201, body=b'{"text": "good"}'),
    ("catalog.uncomment", "DELETE"): Row(ACCOUNT, 404),
    ("catalog.keys", "GET"): Row(ALL, 200),
    **TABLE,
    # the role `push` does not change the visibility
    ("properties", "PUT"): replace(TABLE["properties", "PUT"], access=DELETE),
}
PATHS = {
    "accounts.login": "/v1/users/",
    "accounts.create_user": "/v1/users/",
    "accounts.update_user": "/v1/users/root/",
    "catalog.repository": "/v1/index/repositories/{}",
    "catalog.change": "/v1/index/repositories/{}",
    "catalog.starred": "/v1/index/stars",
    "catalog.star": "/v1/index/stars/{}",
    "catalog.comments": "/v1/index/comments/{}",
    "catalog.comment": "/v1/index/comments/{}",
    "catalog.uncomment": "/v1/index/comments/{}?id=0",
    "catalog.keys": "/v1/index/keys",
}
TOKENS = {"read": PULL, "write": PUSH, "delete": DELETE}
ANY_TOKEN = {("images", "GET"), ("access", "GET")}


def test_the_table_has_every_endpoint(tmp_path: Path) -> None:
    environ = {
        "SETTINGS_FLAVOR": "test",
        "STORAGE_PATH": str(tmp_path / "store"),
        "INDEX_DATABASE": f"sqlite:///{tmp_path}/index.db",
    }
    app = create_app(load_config(environ=environ))
    there = repository_routes.joined(repositories.ACTIONS, image_lists.ACTIONS)
    assert repositories.WITH_INDEX["properties"].keys() <= there["properties"].keys()
    found = {(name, method) for name, methods in there.items() for method in methods}
    for rule in app.url_map.iter_rules():
        if rule.endpoint != "repositories.repository" and not rule.endpoint.startswith("web."):
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            found |= {(rule.endpoint, method) for method in methods}
    assert found == set(TABLE)


class Indexed(World):
    """The same world with an index; robots have a secret, other accounts a password."""

    secret: str

    def path(self, name: str, repository: str) -> str:
        form = PATHS.get(name)
        return form.format(repository) if form is not None else super().path(name, repository)

    def basic(self, role: str) -> dict[str, str]:
        if role == "robot":
            return basic("robot", self.secret)
        return basic(None if role == "anonymous" else role, PASSWORD)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexed]:
    folder = tmp_path_factory.mktemp("privileges")
    store, images, url = folder / "store", {}, f"sqlite:///{folder}/index.db"
    for role in (*ROLES, *TOKENS):
        for visibility in ("public", "private"):
            repository = f"team/{visibility}-{role}"
            one = engine.image(repository)
            seed.image(store, one.json, one.layer, one.ancestry, [one.checksum])
            seed.tags(store / "repositories" / repository, {"latest": one.id})
            seed.image_list(store / "repositories" / repository, [{"id": one.id}])
            if visibility == "private":
                (store / "repositories" / repository / "_private").touch()
            images[repository] = one.id
    environ = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(store), "INDEX_DATABASE": url}
    for words in (["backfill"], ["index", "rebuild"]):
        done = command(*words, **environ)
        assert done.returncode == 0, done.stderr
    secret = accounts(url)
    with Server(store, env={"INDEX_DATABASE": url, "ACCOUNTS_ATTEMPTS": "0"}) as server:
        found = Indexed(server, images)
        Indexed.secret = secret
        yield found


def accounts(url: str) -> str:
    """Add accounts and roles, and return the robot's secret."""
    database = open_database(url)
    kept, namespaces = AccountStore(database, here), Namespaces(database)
    for name in ("other", "reader", "writer", "admin"):
        kept.add(name, PASSWORD)
    kept.add("root", PASSWORD)
    kept.add("robot", None)
    for name, role in [
        ("reader", "pull"),
        ("writer", "push"),
        ("admin", "admin"),
        ("robot", "push"),
    ]:
        namespaces.grant(name, role, "team")
    secret = kept.issue_secret("robot")
    database.close()
    return secret


@pytest.mark.parametrize("visibility", ["public", "private"])
@pytest.mark.parametrize("role", ROLES)
def test_privileges(world: Indexed, role: str, visibility: str) -> None:
    repository = f"team/{visibility}-{role}"
    wrong = []
    for (name, method), row in TABLE.items():
        for asked in ("GET", "HEAD") if method == "GET" else (method,):
            path = world.path(name, repository)
            body = world.body(name, method, row, repository)
            answer = raw.request(world.server, asked, path, world.basic(role) | JSON, body)
            if problem := _wrong(answer, asked, row, role, visibility):
                wrong.append(f"{asked} {path}: {problem}")
    assert wrong == []


@pytest.mark.parametrize("visibility", ["public", "private"])
@pytest.mark.parametrize("kind", TOKENS)
def test_rights_of_tokens(world: Indexed, kind: str, visibility: str) -> None:
    """A token of the namespace's admin grants its access to its repository, and nothing else."""
    repository, elsewhere = f"team/{visibility}-{kind}", f"team/{visibility}-other"
    token = {"Authorization": f"Token {_token(world, kind, repository)}"}
    wrong = []
    for (name, method), row in TABLE.items():
        if row.access not in (
            *(PULL, PUSH, DELETE, "push anywhere", "login", ACCOUNT, ADMINISTRATOR),
        ):
            continue
        if name.startswith(("catalog.", "accounts.")) and row.access != DELETE:
            expected = 401
        elif (
            row.access == TOKENS[kind]
            or (name, method) in ANY_TOKEN
            or (row.access == "push anywhere" and kind == "write")
        ):
            expected = row.status
        else:
            expected = 401
        if (name, method) == ("catalog.change", "PUT"):
            expected = 204 if kind == "delete" else 401
        path, body = world.path(name, repository), world.body(name, method, row, repository)
        answer = raw.request(world.server, method, path, token | JSON, body)
        if answer.status != expected:
            wrong.append(f"{method} {path}: {answer.status}, not {expected}")
        path, body = world.path(name, elsewhere), world.body(name, method, row, elsewhere)
        if path == world.path(name, repository):
            continue
        answer = raw.request(world.server, method, path, token | JSON, body)
        # an image of another repository looks missing
        unknown = 404 if name.startswith("images.get_") and kind == "read" else 401
        if answer.status != unknown:
            wrong.append(f"{method} {path}: {answer.status}, not {unknown}")
    assert wrong == []


def _token(world: Indexed, kind: str, repository: str) -> str:
    headers = {**world.basic("admin"), "X-Docker-Token": "true"}
    method, path = {
        "read": ("GET", f"/v1/repositories/{repository}/images"),
        "write": ("PUT", f"/v1/repositories/{repository}/"),
        "delete": ("DELETE", f"/v1/repositories/{repository}/"),
    }[kind]
    answer = raw.request(world.server, method, path, headers, b"[]" if method == "PUT" else None)
    token = answer.header("X-Docker-Token")
    assert token, str(answer)
    return token


def _wrong(answer: raw.Answer, method: str, row: Row, role: str, visibility: str) -> str:
    if row.access == SEE:
        expected = row.status if PULL in MAY[role][visibility] else 404
        return "" if answer.status == expected else f"{answer.status}, not {expected}"
    if row.access == ACCOUNT and role != "anonymous":
        expected = row.status if PULL in MAY[role][visibility] else 404
        return "" if answer.status == expected else f"{answer.status}, not {expected}"
    if row.access == ADMINISTRATOR:
        # the administrator of a namespace does not administer the registry
        row = replace(row, access="administrator of the index")
    if row.access == "push anywhere" and role != "anonymous":
        # every user has a namespace
        row = replace(row, access=ALL)
    return alone.wrong(answer, method, row, role, visibility, CHALLENGE)


def test_hidden_repositories_look_like_missing_ones(world: Indexed) -> None:
    """The answers are equal in every byte, so a user cannot learn which repositories exist."""
    unknown = Indexed(world.server, {"elsewhere/none": "d" * 64})
    for role in ("anonymous", "other"):
        for (name, method), row in TABLE.items():
            if row.access not in (PULL, SEE, ACCOUNT):
                continue
            answers = [
                raw.request(
                    world.server, method, one.path(name, repository), world.basic(role) | JSON, row.body
                )
                for one, repository in (
                    (world, "team/private-reader"), (unknown, "elsewhere/none"),
                )
            ]  # fmt: skip
            seen = [(a.status, a.body, a.header("WWW-Authenticate")) for a in answers]
            assert seen[0] == seen[1], (role, name)


def test_the_search_and_the_list_show_what_may_be_pulled(world: Indexed) -> None:
    for role in ROLES:
        for path, key in [("/v1/search?q=", "results"), ("/v1/index/repositories", "repositories")]:
            answer = raw.get(world.server, path, world.basic(role)).json()
            names = {result["name"] for result in answer[key]}
            assert any("private" in name for name in names) == (PULL in MAY[role]["private"])
            assert "team/public-other" in names


def test_the_catalog_of_v2_shows_what_may_be_pulled(world: Indexed) -> None:
    for role in ROLES:
        headers = {**world.basic(role), "User-Agent": "skopeo/1"}
        if role == "anonymous":
            token = raw.get(world.server, "/v2/_token", headers).json()["token"]
            headers["Authorization"] = f"Bearer {token}"
        names: list[str] = []
        path = "/v2/_catalog?n=3"
        while path:
            answer = raw.get(world.server, path, headers)
            names += answer.json()["repositories"]
            path = (answer.header("Link") or "").removeprefix("<").partition(">")[0]
        assert names == sorted(set(names))
        assert "team/public-other" in names
        assert any("private" in name for name in names) == (PULL in MAY[role]["private"])
