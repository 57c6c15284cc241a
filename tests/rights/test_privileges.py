"""The privilege table: every endpoint, asked by everybody, of a public and of a private repository.

The endpoints are those that the application has: one that this table does not know fails here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine, seed
from tests.rights.accounts import JSON, basic, environment, password_file
from tests.test_upgrade import command
from v1registry.api.v1 import image_lists, repositories, repository_routes
from v1registry.app import create_app
from v1registry.config import load_config

ROLES = ("anonymous", "other", "reader", "writer", "admin", "robot")
PULL, PUSH, DELETE, ALL = "pull", "push", "delete", "everybody"
ADMINISTRATOR = "administrator"

# The access rules of the tested registry, and the access that each role has by them.
RULES = [
    {"who": "anybody", "repositories": "team/*", "allow": "pull"},  # not of private ones
    {"who": ["reader", "writer", "admin", "robot"], "repositories": "team/*", "allow": "pull"},
    {"who": ["writer", "admin"], "repositories": "team/*", "allow": "push"},
    {"who": "robot", "repositories": "team/*-robot", "allow": "push"},
    {"who": "admin", "repositories": "team/*", "allow": "delete"},
]
MAY = {
    "anonymous": {"public": {PULL}, "private": set()},
    "other": {"public": {PULL}, "private": set()},
    "reader": {"public": {PULL}, "private": {PULL}},
    "writer": {"public": {PULL, PUSH}, "private": {PULL, PUSH}},
    "admin": {"public": {PULL, PUSH, DELETE}, "private": {PULL, PUSH, DELETE}},
    "robot": {"public": {PULL, PUSH}, "private": {PULL, PUSH}},
}


@dataclass(frozen=True)
class Row:
    """What an endpoint takes, and its answer to who has that.

    `hidden` is the answer to a known account that has not: as if there were nothing.
    """

    access: str
    status: int
    hidden: tuple[int, str] | None = None
    body: bytes | None = None


NO_IMAGE = (404, "Image not found")
NO_REPOSITORY = (404, "Repository not found")
DENIED = (403, "Access denied")
IMAGE_JSON = b'{"id": "%s"}' % (b"e" * 64)

# (endpoint or action, method) -> what it takes. The order is that of the requests: what deletes
# comes last.
TABLE: dict[tuple[str, str], Row] = {
    ("ping.ping", "GET"): Row(ALL, 200),
    ("ping.ready", "GET"): Row(ALL, 200),
    ("ping.root", "GET"): Row(ALL, 200),
    ("ping.status", "GET"): Row(ALL, 200),
    **{("v2.v2", method): Row(ALL, 404) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")},
    ("users.login", "GET"): Row("login", 200),
    ("users.create_user", "POST"): Row(ALL, 400, body=b"{}"),
    ("users.update_user", "PUT"): Row(ALL, 403, body=b"{}"),
    ("search.search", "GET"): Row(ALL, 200),
    ("search.repositories", "GET"): Row(ALL, 200),
    ("images.get_json", "GET"): Row(PULL, 200, NO_IMAGE),
    ("images.get_ancestry", "GET"): Row(PULL, 200, NO_IMAGE),
    ("images.get_layer", "GET"): Row(PULL, 200, NO_IMAGE),
    ("images.get_files", "GET"): Row(PULL, 200, NO_IMAGE),
    ("images.get_diff", "GET"): Row(PULL, 200, NO_IMAGE),
    # a new image: `push` to whatever repository
    ("images.put_json", "PUT"): Row("push anywhere", 200, body=IMAGE_JSON),
    ("images.put_layer", "PUT"): Row("push anywhere", 200, body=b"layer"),
    ("images.put_checksum", "PUT"): Row("push anywhere", 412),
    # writes are refused between these two requests only
    ("admin_readonly.status", "GET"): Row(ADMINISTRATOR, 200),
    ("admin_readonly.switch_on", "PUT"): Row(ADMINISTRATOR, 200, body=b'{"reason": "a test"}'),
    ("admin_readonly.switch_off", "DELETE"): Row(ADMINISTRATOR, 200),
    ("tags", "GET"): Row(PULL, 200, NO_REPOSITORY),
    ("tag", "GET"): Row(PULL, 200, (404, "Tag not found")),
    ("tag_json", "GET"): Row(PULL, 200, (404, "Tag not found")),
    ("json", "GET"): Row(PULL, 200, NO_REPOSITORY),
    ("properties", "GET"): Row(PULL, 200, NO_REPOSITORY),
    ("images", "GET"): Row(PULL, 200, (404, "images not found")),
    ("access", "GET"): Row(PULL, 200, NO_REPOSITORY),
    ("auth", "PUT"): Row(ALL, 200),
    ("repository", "PUT"): Row(PUSH, 200, body=b"[]"),
    ("images", "PUT"): Row(PUSH, 204, body=b"[]"),
    ("tag", "PUT"): Row(PUSH, 200),  # the body is the repository's own image
    ("properties", "PUT"): Row(PUSH, 200),  # the body is what it is already
    ("images", "DELETE"): Row(DELETE, 204),
    ("tag", "DELETE"): Row(DELETE, 200),
    ("tags", "DELETE"): Row(DELETE, 200),
    ("repository", "DELETE"): Row(DELETE, 404),  # it is gone since the row before
}
SUFFIXES = {
    "repository": "/",
    "tags": "/tags",
    "tag": "/tags/latest",
    "tag_json": "/tags/latest/json",
    "json": "/json",
    "properties": "/properties",
    "images": "/images",
    "auth": "/auth",
    "access": f"/layer/{'d' * 64}/access",
}
PATHS = {
    "ping.ping": "/v1/_ping",
    "ping.ready": "/v1/_ready",
    "ping.root": "/",
    "ping.status": "/_status",
    "v2.v2": "/v2/x",
    "users.login": "/v1/users/",
    "users.create_user": "/v1/users/",
    "users.update_user": "/v1/users/reader/",
    "admin_readonly.status": "/v1/admin/readonly",
    "admin_readonly.switch_on": "/v1/admin/readonly",
    "admin_readonly.switch_off": "/v1/admin/readonly",
    "search.search": "/v1/search?q=x",
    "search.repositories": "/v1/index/repositories",
}


def test_the_table_has_every_endpoint(tmp_path: Path) -> None:
    config = load_config(environ={"SETTINGS_FLAVOR": "test", "STORAGE_PATH": str(tmp_path)})
    app = create_app(config)
    there = repository_routes.joined(repositories.ACTIONS, image_lists.ACTIONS)
    found = {(name, method) for name, methods in there.items() for method in methods}
    for rule in app.url_map.iter_rules():
        # tests/web/test_privileges.py has the table of the pages
        if rule.endpoint != "repositories.repository" and not rule.endpoint.startswith("web."):
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            found |= {(rule.endpoint, method) for method in methods}
    assert found == set(TABLE)


@dataclass(frozen=True)
class World:
    """A server with a repository of its own for each role and visibility, tag `latest`."""

    server: Server
    images: dict[str, str]

    def path(self, name: str, repository: str) -> str:
        if name in SUFFIXES:
            return f"/v1/repositories/{repository}{SUFFIXES[name]}"
        if name.startswith("images."):
            image_id = "e" * 64 if ".put_" in name else self.images[repository]
            return f"/v1/images/{image_id}/{name.rpartition('_')[2]}"
        return PATHS[name]

    def body(self, name: str, method: str, row: Row, repository: str) -> bytes | None:
        if (name, method) == ("tag", "PUT"):
            return engine.quoted(self.images[repository])
        if (name, method) == ("properties", "PUT"):
            access = "private" if "private" in repository else "public"
            return json.dumps({"access": access}).encode()
        return row.body


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("privileges")
    store, images = folder / "store", {}
    for role in ROLES:
        for visibility in ("public", "private"):
            repository = f"team/{visibility}-{role}"
            one = engine.image(repository)
            seed.image(store, one.json, one.layer, one.ancestry, [one.checksum])
            seed.tags(store / "repositories" / repository, {"latest": one.id})
            seed.image_list(store / "repositories" / repository, [{"id": one.id}])
            if visibility == "private":
                (store / "repositories" / repository / "_private").touch()
            images[repository] = one.id
    done = command("backfill", SETTINGS_FLAVOR="local", STORAGE_PATH=str(store))
    assert done.returncode == 0, done.stderr
    env = environment(
        password_file(folder, ROLES[1:]), RULES, SEARCH_BACKEND="true", ADMINS="admin"
    )
    with Server(store, env=env) as server:
        yield World(server, images)


@pytest.mark.parametrize("visibility", ["public", "private"])
@pytest.mark.parametrize("role", ROLES)
def test_privileges(world: World, role: str, visibility: str) -> None:
    repository = f"team/{visibility}-{role}"
    found = []
    for (name, method), row in TABLE.items():
        for asked in ("GET", "HEAD") if method == "GET" else (method,):
            path = world.path(name, repository)
            body = world.body(name, method, row, repository)
            answer = raw.request(world.server, asked, path, _credentials(role) | JSON, body)
            if problem := wrong(answer, asked, row, role, visibility):
                found.append(f"{asked} {path}: {problem}")
    assert found == []


@pytest.mark.parametrize("role", ROLES)
def test_what_may_not_be_pulled_looks_like_what_is_not_there(world: World, role: str) -> None:
    """The responses are equal byte for byte, so that no client learns which ones exist."""
    if MAY[role]["private"]:
        return
    unknown = World(world.server, {"elsewhere/none": "d" * 64})
    for (name, method), row in TABLE.items():
        if row.access != PULL:
            continue
        answers = [
            raw.request(world.server, method, one.path(name, repository), _credentials(role))
            for one, repository in (
                (world, "team/private-other"), (unknown, "elsewhere/none"),
            )
        ]  # fmt: skip
        seen = [(a.status, a.body, a.header("WWW-Authenticate")) for a in answers]
        assert seen[0] == seen[1], name


@pytest.mark.parametrize("role", ROLES)
def test_v2_clients_have_the_same_rights(world: World, role: str) -> None:
    for visibility in ("public", "private"):
        headers = {"User-Agent": "containers/5", **_credentials(role)}
        for part in ("tags/list", "manifests/latest"):
            path = f"/v2/team/{visibility}-other/{part}"  # `other` may delete nothing
            answer = raw.get(world.server, path, headers)
            allowed = PULL in MAY[role][visibility]
            denied = 401 if role == "anonymous" else 403
            assert answer.status == (200 if allowed else denied), (path, str(answer))
    catalog = raw.get(world.server, "/v2/_catalog", headers)
    if role == "anonymous":
        assert catalog.status == 401  # so that clients learn that they can show something
        return
    names = catalog.json()["repositories"]
    assert any("public" in name for name in names)
    assert any("private" in name for name in names) == bool(MAY[role]["private"])


def test_the_search_shows_only_repositories_that_the_user_may_pull(world: World) -> None:
    for role in ROLES:
        answer = raw.get(world.server, "/v1/search?q=", _credentials(role)).json()
        names = {result["name"] for result in answer["results"]}
        names.discard("team/private-admin")  # deleted above, which the search notices in a while
        assert any("private" in name for name in names) == (PULL in MAY[role]["private"])
        assert "team/public-other" in names


def _credentials(role: str) -> dict[str, str]:
    return basic(None if role == "anonymous" else role)


def wrong(
    answer: raw.Answer,
    method: str,
    row: Row,
    role: str,
    visibility: str,
    offer: str = 'Basic realm="Docker registry"',
) -> str:
    """Return how a response differs from the table; empty if it does not."""
    if row.access == "push anywhere":
        allowed = any(PUSH in rights for rights in MAY[role].values())
    elif row.access == ADMINISTRATOR:
        allowed = role == "admin"
    elif row.access == "login":
        allowed = role != "anonymous"
    else:
        allowed = row.access == ALL or row.access in MAY[role][visibility]
    if allowed:
        return "" if answer.status == row.status else f"{answer.status}, not {row.status}"
    challenge = answer.header("WWW-Authenticate")
    if role == "anonymous":
        wanted, text = 401, "Requires authorization"
        if challenge != offer:
            return f"challenge {challenge}"
    else:
        wanted, text = row.hidden or DENIED
        if challenge is not None:
            return f"challenge {challenge}"
    if answer.status != wanted:
        return f"{answer.status}, not {wanted}"
    if method != "HEAD" and answer.json() != {"error": text}:
        return f"{answer.body!r}"
    return ""
