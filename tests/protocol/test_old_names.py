"""Repositories of old stores with names that no client may create (0.x had no rule for names).

They are pulled, listed, searched and deleted over v1, with accounts and an index, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import raw
from tests.index.conftest import PASSWORD as INDEX_PASSWORD
from tests.index.conftest import here, open_database
from tests.live_server import Server
from tests.protocol import engine, seed
from tests.protocol.engine import image
from tests.rights.accounts import basic, environment, password_file
from tests.transfer.run import call
from tests.waiting import wait_for
from v1registry.index.accounts import AccountStore

BASE = image("old names")

#: name -> folder below `repositories`, as 0.9.1 or 0.8.0 wrote it
FOLDERS = {
    "Foo/Bar": "Foo/Bar",
    "library/%$_": "library/%2525%2524_",
    "library/%a_": "library/%25a_",  # 0.8.0: encoded once
    "Te am$/app": "Te+am%24/app",
    "pl ain$/app": "pl ain$/app",  # 0.8.0: a namespace as it was
    "team/two words": "team/two%2Bwords",
    "team/\u00e9t\u00e9": "team/%25C3%25A9t%25C3%25A9",
    'team/a"b,c=d': "team/a%2522b%252Cc%253Dd",
}
#: folders that no path leads to, or that are no repositories
OTHERS = ["team/b%0A", "team/images", "team/%2E%2E", os.fsdecode(b"team/\xff")]
REPORTED = [ascii(folder)[1:-1] for folder in OTHERS]


def fill(store: Path) -> None:
    seed.image(store, BASE.json, BASE.layer, BASE.ancestry, [BASE.checksum])
    for folder in [*FOLDERS.values(), *OTHERS]:
        seed.tags(store / "repositories" / folder, {"latest": BASE.id})
        seed.image_list(store / "repositories" / folder, [{"id": BASE.id}])
    (store / "repositories/team/@eaDir/thumbnails").mkdir(parents=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("server") / "store"
    fill(store)
    with Server(store, env={"SEARCH_BACKEND": "sqlalchemy"}) as running:
        yield running


def environ(store: Path, **more: str) -> dict[str, str]:
    return {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(store), **more}


def path(name: str, rest: str = "") -> str:
    return f"/v1/repositories/{quote(name)}{rest}"


def names(server: Server, **headers: str) -> set[str]:
    found = raw.get(server, "/v1/search?q=", headers).json()
    assert found["num_results"] == len(found["results"])
    return {result["name"] for result in found["results"]}


@pytest.mark.parametrize("name", FOLDERS)
def test_old_names_can_be_pulled(server: Server, name: str) -> None:
    assert raw.get(server, path(name, "/tags")).json() == {"latest": BASE.id}
    assert raw.get(server, path(name, "/tags/latest")).json() == BASE.id
    answer = raw.get(server, path(name, "/images"))
    assert answer.json() == [{"id": BASE.id}]
    assert quote(name) in (answer.header("X-Docker-Token") or "")
    assert raw.get(server, path(name, "/properties")).json() == {"access": "public"}


def test_search_lists_and_reading_agree(server: Server) -> None:
    found = names(server)
    assert found == set(FOLDERS)
    for name in found:
        assert raw.get(server, path(name, "/tags")).status == 200
    listed = raw.get(server, "/v1/index/repositories").json()["repositories"]
    assert {row["name"] for row in listed} == found
    v2 = raw.get(server, "/v2/_catalog", {"User-Agent": "skopeo/1.9"}).json()
    assert v2 == {"repositories": []}


@pytest.mark.parametrize("name", [*FOLDERS, "New/One", "team/@eaDir"])
def test_old_names_cannot_be_created_or_changed(server: Server, name: str) -> None:
    for rest, body in [
        ("/", b"[]"),
        ("/images", b"[]"),
        ("/tags/new", engine.quoted(BASE.id)),
        ("/properties", b'{"access": "private"}'),
    ]:
        answer = raw.put(server, path(name, rest), body)
        assert (answer.status, answer.json()) == (400, {"error": "Invalid repository name"})


@pytest.mark.parametrize("name", ["New/One", "team/@eaDir", "team/b\n", "../x"])
def test_other_old_names_are_not_found(server: Server, name: str) -> None:
    for method, rest in [("GET", "/tags"), ("GET", "/json"), ("DELETE", "/"), ("DELETE", "/tags")]:
        assert raw.request(server, method, path(name, rest)).status == 400


def test_old_names_can_be_deleted(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    with Server(tmp_path / "store") as server:
        for number, (name, folder) in enumerate(FOLDERS.items()):
            engine.expect(raw.delete(server, path(name, "/tags/latest")))
            assert raw.get(server, path(name, "/tags")).json() == {}
            engine.expect(raw.delete(server, path(name, "/" if number % 2 else "/tags")))
            assert not (tmp_path / "store/repositories" / folder).exists()
            assert raw.get(server, path(name, "/tags")).status == 400
        for folder in OTHERS:
            assert (tmp_path / "store/repositories" / folder / "tag_latest").exists()


def test_with_accounts_and_rules(tmp_path: Path) -> None:
    """A rule holds for them as for others; without the right, none can be told from a missing one."""
    fill(tmp_path / "store")
    (tmp_path / "store/repositories/Foo/Bar/_private").touch()
    rules = [
        {"who": "anybody", "repositories": ["?oo/*", "team/t*"], "allow": "pull"},
        {"who": "ann", "repositories": ["?oo/*"], "allow": ["pull", "delete"]},
    ]
    env = environment(password_file(tmp_path, ["ann", "bob"]), rules, SEARCH_BACKEND="sqlalchemy")
    with Server(tmp_path / "store", env=env) as server:
        answer = raw.get(server, path("team/two words", "/tags/latest"))
        assert answer.json() == BASE.id
        assert names(server) == {"team/two words"}
        assert names(server, **basic("ann")) == {"team/two words", "Foo/Bar"}
        assert raw.get(server, path("Foo/Bar", "/tags"), basic("ann")).status == 200
        for headers, status in ((basic("bob"), 404), ({}, 401)):
            for name in ("Foo/Bar", "library/%$_", "No/Such"):
                assert raw.get(server, path(name, "/tags"), headers).status == status
        # the image is reached by a repository that everybody may pull, once that is noted
        assert raw.get(server, BASE.path("json")).status == 401
        call(["backfill"], environ(tmp_path / "store"), 3)
        assert raw.get(server, BASE.path("json")).body == BASE.json
        engine.expect(raw.delete(server, path("Foo/Bar", "/"), basic("ann")))
        assert raw.get(server, path("Foo/Bar", "/tags"), basic("ann")).status == 400


def test_with_an_index_of_our_own(tmp_path: Path) -> None:
    """The index takes them over from the store, gives tokens for them, and forgets them."""
    url = f"sqlite:///{tmp_path}/index.db"
    database = open_database(url)
    AccountStore(database, here).add("root", INDEX_PASSWORD, is_admin=True)
    database.close()
    fill(tmp_path / "store")
    root = {**basic("root", INDEX_PASSWORD), "X-Docker-Token": "true"}
    with Server(tmp_path / "store", env={"INDEX_DATABASE": url}) as server:
        wait_for(lambda: names(server) == set(FOLDERS))
        for name in FOLDERS:
            answer = raw.get(server, path(name, "/images"), {"X-Docker-Token": "true"})
            token = {"Authorization": f"Token {answer.header('X-Docker-Token')}"}
            assert raw.get(server, path(name, "/tags"), token).json() == {"latest": BASE.id}
            assert raw.get(server, path("team/other", "/tags"), token).status == 401
        answer = raw.put(
            server, f"/v1/index/repositories/{quote('Foo/Bar')}",
            json.dumps({"is_private": True}).encode(), {**root, "Content-Type": "application/json"},
        )  # fmt: skip
        assert answer.status == 204
        wait_for(lambda: raw.get(server, path("Foo/Bar", "/tags")).status == 401)
        assert names(server) == set(FOLDERS) - {"Foo/Bar"}
        token = raw.delete(server, path("Foo/Bar", "/"), root).header("X-Docker-Token")
        answer = raw.delete(server, path("Foo/Bar", "/"), {"Authorization": f"Token {token}"})
        engine.expect(answer)
        assert names(server, **basic("root", INDEX_PASSWORD)) == set(FOLDERS) - {"Foo/Bar"}


def test_with_an_index_on_another_machine(tmp_path: Path) -> None:
    """It gives tokens for them, and the registry asks it by the name as a URL holds it."""
    fill(tmp_path / "store")
    url = f"sqlite:///{tmp_path}/index.db"
    env = environ(tmp_path / "store", INDEX_DATABASE=url)
    call(["index", "rebuild", "--image-lists"], env, 3)
    alone = {"INDEX_DATABASE": url, "INDEX_ALONE": "true", "REGISTRY_ENDPOINTS": "one.example"}
    with Server(tmp_path / "unused", env=alone) as index:
        asks = {"STANDALONE": "false", "INDEX_ENDPOINT": index.url}
        with Server(tmp_path / "store", env=asks) as registry:
            for name in FOLDERS:
                answer = raw.get(index, path(name, "/images"), {"X-Docker-Token": "true"})
                assert answer.json() == [{"id": BASE.id}]
                token = {"Authorization": f"Token {answer.header('X-Docker-Token')}"}
                found = raw.get(registry, path(name, "/tags"), token)
                assert (found.status, found.json()) == (200, {"latest": BASE.id})
                assert raw.get(registry, path("team/other", "/tags"), token).status == 401
        assert raw.get(index, path("No/Such", "/images")).status == 401  # it may be private
        assert raw.get(index, path("team/b\n", "/images")).status == 400
        assert raw.put(index, path("No/Such", "/"), b"[]").status == 400


# -- commands ------------------------------------------------------------------------

NO_NAME = "no client can ask for a repository of this name: rename or delete its folder"


def test_backfill_names_old_names(tmp_path: Path) -> None:
    fill(tmp_path)
    out, _ = call(["backfill", "--json"], environ(tmp_path), 3)
    rows = {(row["repository"], row["tag"]): row["problem"] for row in json.loads(out)["problems"]}
    assert rows == {
        **{(name, ""): "no v2 client can ask for this name: it is served over v1 alone" for name in FOLDERS},
        **{(name, ""): NO_NAME for name in REPORTED},
    }  # fmt: skip
    out, _ = call(["backfill"], environ(tmp_path), 3)
    assert f"team/b%0A: {NO_NAME}\n" in out
    assert "Foo/Bar: no v2 client" in out


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_export_names_what_it_leaves_out(tmp_path: Path, form: str) -> None:
    """Else no engine could load the archive, and no import could read the rest of it."""
    fill(tmp_path / "store")
    seed.tags(tmp_path / "store/repositories/good/app", {"latest": BASE.id, "a+b": BASE.id})
    place = str(tmp_path / "to")
    command = ["export", place, "--format", form, "--json", "--quiet", "--map", "Foo/Bar=foo/bar"]
    out, _ = call(command, environ(tmp_path / "store"), 3)
    lines = {(line["repository"], line["tag"]): line for line in json.loads(out)["images"]}
    moved = [key for key, line in lines.items() if line["state"] == "exported"]
    assert sorted(moved) == [("Foo/Bar", "latest"), ("good/app", "latest")]
    assert {name for name, _ in lines} == {*FOLDERS, *REPORTED, "good/app"}
    assert lines["good/app", "a b"]["reason"].startswith("'a b' is no legal tag")
    reason = "library/%$_ is no legal name for a repository: rename it with --map"
    assert lines["library/%$_", "latest"]["reason"] == reason
    assert lines["team/b%0A", ""]["reason"] == NO_NAME
    out, _ = call(["import", place, "--json", "--quiet"], environ(tmp_path / "other"), 0)
    assert {line["repository"] for line in json.loads(out)["images"]} == {"foo/bar", "good/app"}
    chosen = ["export", str(tmp_path / "b"), "--repositories", "team/b*", "--quiet"]
    out, _ = call(chosen, environ(tmp_path / "store"), 3)
    assert f"failed      team/b%0A: {NO_NAME}" in out


def test_index_rebuild_adds_old_names_and_reports_others(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    env = environ(tmp_path / "store", INDEX_DATABASE=f"sqlite:///{tmp_path}/index.db")
    out, _ = call(["index", "rebuild", "--json"], env, 3)
    told = json.loads(out)
    assert told["repositories"] == told["changed"] == len(FOLDERS)
    assert {row["repository"]: row["problem"] for row in told["problems"]} == dict.fromkeys(
        REPORTED, NO_NAME
    )
    out, _ = call(["index", "repository", "list", "--json"], env, 0)
    assert {row["name"] for row in json.loads(out)} == set(FOLDERS)
