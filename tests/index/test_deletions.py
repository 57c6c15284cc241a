"""Private repositories stay private: pushes that bypass the index, and deletions during pushes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import raw
from tests.index.conftest import PASSWORD
from tests.index.test_server import engine, seeded
from tests.live_server import Server
from tests.protocol.engine import Image, expect, image, quoted
from tests.rights.accounts import JSON, basic

OWNER, WRITER = {**basic("owner", PASSWORD), **JSON}, basic("writer", PASSWORD)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('index')}/index.db"
    else:
        url = str(request.getfixturevalue("postgres").database())
    seeded(url)
    return url


@pytest.fixture(scope="module")
def server(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"INDEX_DATABASE": url, "ACCOUNTS_ATTEMPTS": "0"}
    with Server(tmp_path_factory.mktemp("store") / "store", workers=2, env=env) as running:
        yield running


@pytest.fixture
def private(url: str, tmp_path: Path) -> Iterator[Server]:
    """Yield a server of the same index, in which new repositories are private."""
    env = {"INDEX_DATABASE": url, "INDEX_PRIVATE": "true", "ACCOUNTS_ATTEMPTS": "0"}
    with Server(tmp_path / "store", workers=2, env=env) as running:
        yield running


def send(server: Server, one: Image, headers: dict[str, str]) -> None:
    """Push an image without its tag."""
    expect(raw.put(server, one.path("json"), one.json, headers))
    expect(raw.put(server, one.path("layer"), one.layer, headers))
    sums = {**headers, "X-Docker-Checksum-Payload": one.checksum}
    expect(raw.put(server, one.path("checksum"), b"", sums))


def begin(server: Server, repository: str, user: str = "writer") -> dict[str, str]:
    """Begin a push at the index, and return the headers with the token."""
    asked = engine(server, user).ask_index("PUT", f"/v1/repositories/{repository}/", b"[]")
    return {"Authorization": f"Token {expect(asked).header('X-Docker-Token')}"}


def tag(server: Server, repository: str, one: Image, headers: dict[str, str]) -> raw.Answer:
    return raw.put(server, f"/v1/repositories/{repository}/tags/latest", quoted(one.id), headers)


def hide(server: Server, repository: str) -> None:
    path = f"/v1/index/repositories/{repository}"
    assert raw.put(server, path, b'{"is_private": true}', OWNER | JSON).status == 204


def delete(server: Server, repository: str) -> int:
    return raw.delete(server, f"/v1/repositories/{repository}/tags", OWNER).status


def kept_from(
    server: Server, user: str, repository: str, one: Image, *, is_away: bool = False
) -> None:
    """Check that a user without a role sees nothing of the repository, by any protocol.

    `is_away`: without the store, no v2 token can be signed for anonymous users.
    """
    shown = basic(user, PASSWORD) if user else {}
    for path in (
        f"/v1/repositories/{repository}/tags",
        f"/v1/repositories/{repository}/tags/latest",
        f"/v1/repositories/{repository}/images",
        f"/v1/repositories/{repository}/json",
        one.path("json"),
        one.path("layer"),
        f"/v1/index/repositories/{repository}",
    ):
        signs_in = not user and not path.startswith("/v1/index/")
        assert raw.get(server, path, shown).status == (401 if signs_in else 404), path
    agent = {**shown, "User-Agent": "docker/20.10"}
    for path in (f"/v2/{repository}/tags/list", f"/v2/{repository}/manifests/latest"):
        assert raw.get(server, path, agent).status == (403 if user else 503 if is_away else 401)
    word = repository.rpartition("/")[2]
    assert raw.get(server, f"/v1/search?q={word}", shown).json()["results"] == []
    listed = raw.get(server, "/v1/index/repositories?n=1000", shown).json()["repositories"]
    assert repository not in [found["name"] for found in listed]


# -- without the repository PUT ----------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True])
def test_a_push_without_the_repository_put(private: Server, later: bool) -> None:
    """A PUT of a tag creates the repository with the default visibility."""
    name, one = f"team/tag-alone-{later}".lower(), image(f"tag alone {later} {private.host}")
    send(private, one, WRITER)
    expect(tag(private, name, one, WRITER))
    if later:  # a walk does not make it public
        private.stop()
        private.restart()
    for user in ("", "other"):
        kept_from(private, user, name, one)
    path = f"/v1/repositories/{name}"
    assert expect(raw.get(private, f"{path}/tags", basic("reader", PASSWORD))).json()
    properties = raw.get(private, f"{path}/properties", basic("reader", PASSWORD))
    assert properties.json() == {"access": "private"}
    folder = private.store / "repositories" / name
    assert (folder / "_private").exists()


def test_the_final_image_list_creates_a_private_repository(private: Server) -> None:
    path = "/v1/repositories/team/list-alone/images"
    assert raw.put(private, path, b"[]", WRITER).status == 204
    answer = raw.get(private, "/v1/repositories/team/list-alone/images")
    assert answer.status == 401
    assert (private.store / "repositories" / "team" / "list-alone" / "_private").exists()


def test_properties_of_an_unknown_repository(private: Server) -> None:
    path = "/v1/repositories/team/properties-first/properties"
    assert raw.put(private, path, b'{"access": "private"}', OWNER).status == 200
    assert raw.get(private, path).status == 401
    assert raw.put(private, path, b'{"access": "public"}', OWNER).status == 200
    assert raw.get(private, path).json() == {"access": "public"}


# -- deleted during a push -----------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["token", "password"])
def test_a_push_does_not_restore_a_deleted_repository(server: Server, by: str) -> None:
    name, one = f"team/deleted-by-{by}", image(f"deleted by {by} {server.host}")
    engine(server, "writer").push(name, [one])
    hide(server, name)
    headers = begin(server, name) if by == "token" else WRITER
    send(server, image(f"next of {by} {server.host}"), headers)
    expect(tag(server, name, one, headers))
    assert delete(server, name) == 200
    # Servers cache the rights of a token for 5 seconds. Afterwards the token is refused.
    ended = (401, 404) if by == "token" else (404,)
    answer = tag(server, name, one, headers)
    assert answer.status in ended
    if answer.status == 404:
        assert "push it again" in answer.json()["error"]
    answer = raw.put(server, f"/v1/repositories/{name}/images", b"[]", WRITER)
    assert (answer.status, "push it again" in answer.json()["error"]) == (404, True)
    if by == "token":  # the new repository needs a new token
        assert raw.put(server, f"/v1/repositories/{name}/", b"[]", headers).status in ended
    properties = f"/v1/repositories/{name}/properties"
    assert raw.put(server, properties, b'{"access": "public"}', OWNER).status == 404
    assert not (server.store / "repositories" / name).exists()
    for user in ("", "other"):
        kept_from(server, user, name, one)
    # the same push, started again
    engine(server, "writer").push(name, [one])
    assert engine(server, "reader").pull(name)
    for user in ("", "other"):
        kept_from(server, user, name, one)
    if by == "token":  # the old token is for the deleted repository
        assert tag(server, name, one, headers).status in ended


def test_a_token_of_a_deleted_repository_does_not_delete_the_new_one(server: Server) -> None:
    name, one = "team/deleted-twice", image(f"deleted twice {server.host}")
    engine(server, "writer").push(name, [one])
    owner = engine(server, "owner")
    asked = expect(owner.ask_index("DELETE", f"/v1/repositories/{name}/"), 202)
    headers = {"Authorization": f"Token {asked.header('X-Docker-Token')}"}
    assert raw.delete(server, f"/v1/repositories/{name}/", headers).status == 200
    engine(server, "writer").push(name, [one])
    threading.Event().wait(5.5)  # servers cache roles for so long
    assert raw.delete(server, f"/v1/repositories/{name}/", headers).status == 401
    assert engine(server).pull(name)


def test_a_deletion_during_pushes_lasts(server: Server) -> None:
    """Many clients push a tag during the deletion. After it, the store holds nothing of it."""
    one = image(f"raced {server.host}")
    engine(server, "writer").push("team/races", [one])
    hide(server, "team/races")
    for number in range(12):
        name = f"team/raced{number}"
        headers = begin(server, name)
        expect(tag(server, name, one, headers))
        hide(server, name)
        deleted = threading.Event()

        def push(
            name: str = name,
            headers: dict[str, str] = headers,
            deleted: threading.Event = deleted,
        ) -> set[int]:
            found = set()
            while not deleted.is_set():
                found.add(tag(server, name, one, headers).status)
            found.add(tag(server, name, one, headers).status)
            return found

        with ThreadPoolExecutor(4) as pool:
            pushers = [pool.submit(push) for _ in range(4)]
            status = delete(server, name)
            if status == 503:  # a push wrote into the folder at the same time
                status = delete(server, name)
                assert status in (200, 404)  # the first request may have deleted everything
            else:
                assert status == 200
            deleted.set()
        for pusher in pushers:
            assert pusher.result() <= {200, 401, 404}
        assert not list((server.store / "repositories" / "team").glob(f"raced{number}/tag_*"))
        kept_from(server, "other", name, one)


def test_deleting_a_repository_without_files(server: Server) -> None:
    """The request deletes stars and comments, and nothing else."""
    name = "team/no-files"
    begin(server, name)
    path = f"/v1/index/repositories/{name}"
    assert raw.get(server, path).status == 200
    assert delete(server, name) == 200
    assert raw.get(server, path).status == 404
    assert delete(server, name) == 404


# -- a store that is away ----------------------------------------------------------------------------------


def test_the_server_keeps_all_rows_while_its_store_is_away(url: str, tmp_path: Path) -> None:
    """The server compares each second, and the store is an empty mount point for some seconds."""
    name, one = "team/away", image(f"away {tmp_path}")
    env = {"INDEX_DATABASE": url, "INDEX_REPAIR_INTERVAL": "1", "INDEX_MISSING_GRACE": "0"}
    store = tmp_path / "store"
    with Server(store, env=env) as server:
        engine(server, "writer").push(name, [one])
        change = {"is_private": True, "description": "what it is"}
        path = f"/v1/index/repositories/{name}"
        assert raw.put(server, path, json.dumps(change).encode(), OWNER | JSON).status == 204
        for word in ("stars", "comments"):
            method = "PUT" if word == "stars" else "POST"
            body = b'{"text": "good"}'
            answer = raw.request(server, method, f"/v1/index/{word}/{name}", OWNER | JSON, body)
            assert answer.status == (204 if word == "stars" else 201)
        threading.Event().wait(4)  # the first comparison comes after 3 seconds
        store.rename(tmp_path / "elsewhere")
        store.mkdir()
        threading.Event().wait(5)
        for user in ("", "other"):
            kept_from(server, user, name, one, is_away=True)
        store.rename(tmp_path / "mount-point")
        (tmp_path / "elsewhere").rename(store)
        threading.Event().wait(4)
        for user in ("", "other"):
            kept_from(server, user, name, one)
        found = expect(raw.get(server, path, OWNER)).json()
        assert (found["description"], found["is_private"], found["stars"]) == (
            "what it is", True, 1,
        )  # fmt: skip
        comments = raw.get(server, f"/v1/index/comments/{name}", OWNER).json()["comments"]
        assert [comment["text"] for comment in comments] == ["good"]
        assert engine(server, "reader").pull(name)
