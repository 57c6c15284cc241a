"""docs/nodes.md, "How old an answer may be": each line of that table, with nodes that share a store.

A node that has just read the old state is asked continually while another node changes it. Tags are
also tested in test_nodes_s3.py, where the nodes move them in turn.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import ROOT, Server
from tests.needs import needs, require
from tests.nginx import EXAMPLE, Nginx
from tests.protocol import engine
from tests.protocol.engine import Image, image
from tests.redisserver import Redis
from tests.rights.accounts import Client, basic, environment, password_file
from tests.waiting import wait_for

LATE = 1.5  # further seconds for a request on a busy machine
RULES = [
    {"who": "anybody", "repositories": "open/*", "allow": "pull"},
    {"who": "ada", "repositories": "*", "allow": ["pull", "push", "delete"]},
]
PODMAN = {"User-Agent": "podman/4.3.1"}
CACHE, SHARED = 2, 3  # seconds of `cache_life` and `cache_shared_life` here
KEPT = 2  # seconds for which nginx caches an answer here

Told = Mapping[str, Callable[[], bool]]


@pytest.fixture(scope="module")
def table() -> dict[str, str]:
    """The documented table: object -> how old an answer about it may be."""
    page = (ROOT / "docs" / "nodes.md").read_text()
    rows = page.partition("## How old an answer may be")[2].partition("\n\n##")[0]
    return dict(re.findall(r"^\| (.*?) \| (.*?) \|$", rows, re.MULTILINE)[1:])


def bound(table: Mapping[str, str], begins: str) -> float:
    """Return the seconds of a line of the table."""
    [text] = [value for what, value in table.items() if what.startswith(begins)]
    found = re.match(r"(\d+)(?: (seconds|minutes)|:)", text)
    assert found, text
    return float(found[1]) * (60 if found[2] == "minutes" else 1)


def last_seen(told: Told, seconds: float) -> dict[str, float]:
    """Return when each condition was last true, in seconds from now; check them somewhat longer."""
    begun = time.monotonic()
    last = dict.fromkeys(told, 0.0)
    while time.monotonic() < begun + seconds + LATE + 1:
        for what, holds in told.items():
            asked = time.monotonic() - begun
            if holds():
                last[what] = asked
        time.sleep(0.05)
    return last


# -- rights ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two nodes with access rules."""
    folder = tmp_path_factory.mktemp("accounts")
    env = environment(password_file(folder, ["ada"]), RULES)
    with Server(folder / "store", env=env) as one, Server(folder / "store", env=env) as other:
        yield [one, other]


@pytest.mark.heavy
def test_rights(accounts: list[Server], table: dict[str, str]) -> None:
    """A repository becomes private on one node; the other must soon refuse anonymous clients."""
    one, other = accounts
    ada = Client(one, basic("ada"))
    changes = {
        "a tag deleted": ("DELETE", "/tags/latest", None),
        "a repository deleted": ("DELETE", "/", None),
        "a repository made private": ("PUT", "/properties", b'{"access": "private"}'),
    }
    told, acts = {}, []
    for what, (method, path, body) in changes.items():
        name = f"open/{what.replace(' ', '-')}"
        pushed = image(name)
        ada.push(name, [pushed])
        told[what] = readable(other, pushed)
        acts.append((method, f"/v1/repositories/{name}{path}", body))
    # The cached answer is from before the change.
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert all(holds() for holds in told.values())
        time.sleep(0.1)
    for act in acts:
        engine.expect(ada.ask(*act))
    seconds = bound(table, "with accounts or an index")
    last = last_seen(told, seconds)
    assert max(last.values()) < seconds + LATE, last
    # the answer was cached for some time, so the test is meaningful
    assert max(last.values()) > 0, last


def readable(server: Server, pushed: Image) -> Callable[[], bool]:
    def holds() -> bool:
        found = [raw.get(server, pushed.path(part)) for part in ("json", "layer")]
        assert {answer.status for answer in found} <= {200, 401, 404}
        return any(answer.status == 200 for answer in found)

    return holds


# -- objects that are never cached, and v2 ------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Server], Redis]]:
    """Two nodes with one Redis, and caches with short lifetimes."""
    require("redis")
    folder = tmp_path_factory.mktemp("pair")
    with tempfile.TemporaryDirectory(prefix="v1r-") as short, Redis(Path(short)) as redis:
        env = {
            **redis.env,
            "CACHE_LIFE": str(CACHE),
            "CACHE_SHARED_LIFE": str(SHARED),
            "SEARCH_BACKEND": "sqlalchemy",
        }
        with Server(folder / "store", env=env) as one, Server(folder / "store", env=env) as other:
            yield [one, other], redis


def test_objects_that_are_never_cached(
    pair: tuple[list[Server], Redis], table: dict[str, str]
) -> None:
    """Properties, the image list, an upload and a new image. Each was requested just before."""
    assert bound(table, "tags, image lists, properties, uploads; a new image") == 0
    nodes, _ = pair
    for turn in range(6):
        one, other = nodes[turn % 2], nodes[1 - turn % 2]
        name, pushed = f"team/each{turn}", image(f"each {turn}")
        here = f"/v1/repositories/{name}"
        writer = Client(one, {})
        assert raw.get(other, pushed.path("json")).status == 404
        assert raw.get(other, f"{here}/images").status == 404
        engine.expect(writer.ask("PUT", f"{here}/", json.dumps([{"id": pushed.id}]).encode()))
        listed = raw.get(other, f"{here}/images").json()
        assert [item["id"] for item in listed] == [pushed.id]
        engine.expect(writer.ask("PUT", pushed.path("json"), pushed.json))
        assert raw.get(other, pushed.path("json")).status == 400  # the image is being uploaded
        engine.expect(raw.put(one, pushed.path("layer"), pushed.layer))
        assert raw.get(other, pushed.path("ancestry")).status == 400
        writer.finish(pushed)
        assert raw.get(other, pushed.path("json")).body == pushed.json
        for access in ("private", "public"):
            body = json.dumps({"access": access}).encode()
            engine.expect(writer.ask("PUT", f"{here}/properties", body))
            assert raw.get(other, f"{here}/properties").json() == {"access": access}


def test_blobs_of_v2(pair: tuple[list[Server], Redis], table: dict[str, str]) -> None:
    (one, other), _ = pair
    pushed = image("blobs")
    writer = Client(one, {})
    writer.push("team/blobs", [pushed])
    manifest = raw.get(other, "/v2/team/blobs/manifests/latest", PODMAN).json()
    urls = [
        f"/v2/team/blobs/blobs/{part['digest']}"
        for part in (manifest["config"], *manifest["layers"])
    ]
    told = {url: lambda u=url: raw.get(other, u, PODMAN).status == 200 for url in urls}
    assert all(holds() for holds in told.values())
    engine.expect(writer.ask("DELETE", "/v1/repositories/team/blobs/tags/latest"))
    assert raw.get(other, "/v2/team/blobs/manifests/latest", PODMAN).status == 404
    seconds = bound(table, "blobs that v2 shows")
    last = last_seen(told, seconds)
    assert 0 < max(last.values()) < seconds + LATE, last


@pytest.mark.heavy
def test_the_search(pair: tuple[list[Server], Redis], table: dict[str, str]) -> None:
    """A deleted repository. For new ones see test_nodes_s3.py."""
    (one, other), _ = pair
    writer = Client(one, {})
    writer.push("team/sought", [image("sought")])
    seconds = bound(table, "`/v1/search`")

    def found() -> bool:
        return raw.get(other, "/v1/search?q=sought").json()["num_results"] == 1

    wait_for(found, seconds + LATE)
    engine.expect(writer.ask("DELETE", "/v1/repositories/team/sought/"))
    last = last_seen({"found": found}, seconds)
    assert last["found"] < seconds + LATE


# -- images deleted by hand -----------------------------------------------------------------------


def test_an_image_deleted_by_hand(pair: tuple[list[Server], Redis], table: dict[str, str]) -> None:
    """One node has read the image. The other reads it from Redis just before it expires there."""
    [text] = [value for what, value in table.items() if "removed from the store by hand" in what]
    # one hour and one hour: the defaults
    assert text.startswith("`cache_life`; with Redis, up to two hours")
    assert re.findall(r"CACHE_(?:SHARED_)?LIFE:(\w+)", (ROOT / "config.yml").read_text()) == [
        "1h",
        "1h",
    ]
    (one, other), redis = pair
    pushed = image("by hand")
    Client(one, {}).push("team/hand", [pushed])
    assert raw.get(one, pushed.path("json")).status == 200
    assert any(key.endswith(pushed.id) for key in redis.all_keys())
    shutil.rmtree(one.store / "images" / pushed.id)
    told = {
        "one": lambda: raw.get(one, pushed.path("json")).status == 200,
        "other": lambda: raw.get(other, pushed.path("json")).status == 200,
    }
    last = last_seen(told, CACHE + SHARED)
    assert max(last.values()) > CACHE / 2, last
    assert max(last.values()) < CACHE + SHARED + LATE, last
    assert not any(key.endswith(pushed.id) for key in redis.all_keys())


@needs("nginx")
def test_answers_cached_by_nginx(tmp_path: Path, table: dict[str, str]) -> None:
    """nginx serves a deleted image until its cached answer expires, and not longer."""
    kept = "proxy_cache_valid 200 10m;"
    assert kept in EXAMPLE.read_text()
    assert bound(table, "the same for image JSON and ancestry that nginx caches") == 600
    env = {"CACHE_MEMORY": "0"}
    store = tmp_path / "store"
    with Server(store, env=env) as one, Server(store, env=env) as other:
        ports = [one.port, other.port]
        short = {kept: f"proxy_cache_valid 200 {KEPT}s;"}
        with Nginx(tmp_path / "nginx", ports, changes=short) as nginx:
            pushed = image("kept by nginx")
            Client(one, {}).push("team/kept", [pushed])

            def answered(part: str) -> Callable[[], bool]:
                return lambda: raw.get(nginx, pushed.path(part)).status == 200

            told = {part: answered(part) for part in ("json", "ancestry")}
            assert all(holds() for holds in told.values())
            shutil.rmtree(store / "images" / pushed.id)
            shown = {"Authorization": "Basic Og=="}
            assert raw.get(nginx, pushed.path("json"), shown).status == 404
            assert raw.get(nginx, pushed.path("layer")).status == 404
            last = last_seen(told, KEPT)
            assert KEPT / 2 < max(last.values()) < KEPT + LATE, last
