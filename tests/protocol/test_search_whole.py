"""A search without `n` and `page`: all results in one answer, with the right number."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.lib.stores import image_id
from tests.live_server import Server
from tests.rights.accounts import basic, environment, password_file
from tests.waiting import wait_for

COUNT = 2500
ID = image_id("a")
NAMES = [f"many/image{number:06}" for number in range(COUNT)]


READ_ALL = """
import json, sys, urllib.request
found = json.load(urllib.request.urlopen(sys.argv[1]))
print(found["num_results"], len(found["results"]))
"""


def fill(store: Path, names: list[str]) -> None:
    for name in names:
        folder = store / "repositories" / name
        folder.mkdir(parents=True)
        (folder / "tag_latest").write_text(ID)


@pytest.fixture(scope="module", params=["store", "database", "index"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A registry that searches names of the store, a database for search alone, or an index."""
    folder = tmp_path_factory.mktemp("server")
    fill(folder / "store", [*NAMES, "other/one"])
    url = f"sqlite:///{folder}/search.db"
    env = {
        "store": {"SEARCH_BACKEND": "true"},
        "database": {"SEARCH_BACKEND": "sqlalchemy", "SQLALCHEMY_INDEX_DATABASE": url},
        "index": {"INDEX_DATABASE": url},
    }[str(request.param)]
    with Server(folder / "store", env=env) as running:
        for name in ("other", NAMES[-1]):
            path = f"/v1/search?q={name}&n=1"
            # A busy machine takes half a minute to enter the names into a database.
            wait_for(lambda path=path: raw.get(running, path).json()["num_results"] == 1, 90)
        yield running


def found(server: Server, query: str, **headers: str) -> list[str]:
    answer = raw.get(server, f"/v1/search{query}", headers)
    assert (answer.status, answer.header("Content-Type")) == (200, "application/json")
    document = answer.json()
    assert answer.body == json.dumps(document, sort_keys=True).encode()
    assert list(document) == ["num_pages", "num_results", "page", "page_size", "query", "results"]
    assert document["num_results"] == len(document["results"])
    assert (document["page"], document["num_pages"]) == (1, 1 if document["results"] else 0)
    return [result["name"] for result in document["results"]]


@pytest.mark.parametrize("query", ["", "?q=", "?q=image", "?q=ma", "?q=m", "?q=MANY"])
def test_all_results_at_once(server: Server, query: str) -> None:
    wanted = NAMES if query in ("?q=image", "?q=ma", "?q=m", "?q=MANY") else [*NAMES, "other/one"]
    assert sorted(found(server, query)) == wanted


def test_few_results(server: Server) -> None:
    assert found(server, "?q=other") == ["other/one"]
    assert found(server, "?q=image000007") == ["many/image000007"]
    assert found(server, "?q=nothing") == []


def test_head_and_closed_connections_leave_room_for_others(server: Server) -> None:
    """Of long answers a process sends a few at once; those that ended in any way do not count."""
    for _ in range(20):
        assert raw.head(server, "/v1/search?q=").status == 200
        connection = raw.Connection(server)
        connection.send(b"GET /v1/search?q= HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.abort()
    wait_for(lambda: raw.get(server, "/v1/search?q=").status == 200)
    assert len(found(server, "?q=")) == COUNT + 1


def test_pages_as_docker_hub_had_them(server: Server) -> None:
    read: list[str] = []
    pages = 1
    number = 0
    while number < pages:
        number += 1
        page = raw.get(server, f"/v1/search?q=image&n=400&page={number}").json()
        assert (page["page"], page["page_size"]) == (number, 400)
        read += [result["name"] for result in page["results"]]
        pages = page["num_pages"]
    assert sorted(read) == NAMES
    assert raw.get(server, "/v1/search?q=other&n=25").json()["num_pages"] == 1


def test_results_are_only_what_the_caller_may_pull(tmp_path: Path) -> None:
    fill(tmp_path / "store", [*NAMES, *(f"ann/own{number:04}" for number in range(1500))])
    (tmp_path / "store/repositories/ann/own0000/_private").touch()
    rules = [
        {"who": "anybody", "repositories": "many/*1", "allow": "pull"},
        {"who": "ann", "repositories": "ann/*", "allow": "pull"},
    ]
    env = environment(password_file(tmp_path, ["ann"]), rules, SEARCH_BACKEND="true")
    with Server(tmp_path / "store", env=env) as server:
        assert found(server, "?q=") == [name for name in NAMES if name.endswith("1")]
        assert len(found(server, "?q=own", **basic("ann"))) == 1500


def leave_names(store: Path, names: list[str]) -> None:
    """What another process found just now, so that none walks over the store."""
    place = store / "_v1registry"
    place.mkdir(parents=True)
    left = {"names": names, "private": [], "began": time.time() + 2, "took": 1000}
    (place / "names").write_text(json.dumps(left))


def test_the_number_of_concurrent_long_responses_is_limited(tmp_path: Path) -> None:
    """Clients that do not read what they asked for take no more memory than these answers."""
    leave_names(tmp_path / "store", [f"{number:06}/{'x' * 240}" for number in range(40_000)])
    with Server(tmp_path / "store", env={"SEARCH_BACKEND": "true"}) as server:
        waiting = []
        for _ in range(16):
            connection = raw.Connection(server)
            connection.send(b"GET /v1/search?q= HTTP/1.1\r\nHost: x\r\n\r\n")
            waiting.append(connection)
        wait_for(lambda: raw.get(server, "/v1/search?q=").status == 503)
        answer = raw.get(server, "/v1/search?q=xxx")
        assert (answer.status, answer.header("Retry-After")) == (503, "5")
        assert "ask for pages with n and page" in answer.json()["error"]
        assert raw.get(server, "/v1/search?q=&n=100").status == 200
        assert len(found(server, "?q=000007")) == 1
        for connection in waiting:
            connection.abort()
        wait_for(lambda: raw.head(server, "/v1/search?q=").status == 200)


def test_other_clients_are_served_during_a_long_response(tmp_path: Path) -> None:
    """100,000 names, looked at one by one: a ping takes no longer than usual."""
    rules = [{"who": "anybody", "repositories": ["a/x*", "many/*"], "allow": "pull"}]
    env = environment(password_file(tmp_path, ["ann"]), rules, SEARCH_BACKEND="true")
    leave_names(tmp_path / "store", [f"many/image{number:06}" for number in range(100_000)])
    with Server(tmp_path / "store", env=env) as server:
        assert raw.get(server, "/v1/search?q=image&n=1").json()["num_results"] == 1001
        search = subprocess.Popen(  # another process, whose work does not slow the pings down
            [sys.executable, "-c", READ_ALL, f"{server.url}/v1/search?q="], stdout=subprocess.PIPE
        )
        waited = []
        while search.poll() is None:
            begun = time.monotonic()
            assert raw.get(server, "/v1/_ping").status == 200
            waited.append(time.monotonic() - begun)
            time.sleep(0.005)
        assert search.communicate()[0].split() == [b"100000", b"100000"]
        assert len(waited) >= 5
        assert max(waited) < 0.5
