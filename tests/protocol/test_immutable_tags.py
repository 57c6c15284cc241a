"""Immutable tags over a real socket: what engines, commands, imports and pages are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests import raw
from tests.live_server import Server
from tests.oldregistry import OldRegistry
from tests.protocol.engine import Image, expect, image, push, quoted, upload
from tests.transfer.run import call
from tests.web.client import Visitor
from tests.web.demo import demo

RULES = {"IMMUTABLE_TAGS": '[{repository: "library/*", tags: "v*"}]'}
BASE, ONE, TWO = image("base"), image("one"), image("two")
PATH = "/v1/repositories/library/app"
TEXT = "The tag library/app:v1 is immutable by the rule library/*:v* of immutable_tags"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("immutable")
    with Server(folder / "store", workers=2, env=RULES) as server:
        push(server, "library/app", [ONE], ["v1", "latest"])
        push(server, "team/app", [ONE, TWO], ["v1"])
        yield server


def is_refused(answer: raw.Answer) -> None:
    expect(answer, 409)
    assert set(answer.json()) == {"error"}, "engines decode an error into a map of strings"
    assert answer.json()["error"].startswith(TEXT)


def listed(image: Image, tag: str) -> bytes:
    return json.dumps([{"id": BASE.id}, {"id": image.id, "Tag": tag}]).encode()


def test_an_engine_is_refused_before_it_sends_layers(server: Server) -> None:
    """Engines print the text of this answer, and of a refused tag only the status."""
    before = raw.get(server, f"{PATH}/images").body
    is_refused(raw.put(server, f"{PATH}/", listed(TWO, "v1")))
    assert raw.get(server, f"{PATH}/images").body == before
    expect(raw.put(server, f"{PATH}/", listed(ONE, "v1")))
    expect(raw.put(server, f"{PATH}/", listed(TWO, "latest")))


def test_an_identical_push_succeeds_and_any_change_is_refused(server: Server) -> None:
    expect(raw.put(server, f"{PATH}/tags/v1", quoted(ONE.id)))
    is_refused(raw.put(server, f"{PATH}/tags/v1", quoted(TWO.id)))
    is_refused(raw.request(server, "DELETE", f"{PATH}/tags/v1"))
    is_refused(raw.request(server, "DELETE", f"{PATH}/tags"))
    is_refused(raw.request(server, "DELETE", f"{PATH}/"))
    assert raw.get(server, f"{PATH}/tags/v1").json() == ONE.id
    assert OldRegistry(server.store).tags("library/app")["v1"] == ONE.id
    expect(raw.put(server, "/v1/repositories/team/app/tags/v1", quoted(ONE.id)))


def test_one_of_two_simultaneous_pushes_wins(server: Server) -> None:
    barrier = Barrier(2)

    def put(number: int, image: Image) -> int:
        barrier.wait(20)
        return raw.put(
            server, f"/v1/repositories/library/race/tags/v{number}", quoted(image.id)
        ).status

    with ThreadPoolExecutor(2) as pool:
        for number in range(20):
            both = [pool.submit(put, number, image) for image in (ONE, TWO)]
            statuses = [future.result(30) for future in both]
            assert sorted(statuses) == [200, 409]
            winner = (ONE, TWO)[statuses.index(200)]
            assert (
                raw.get(server, f"/v1/repositories/library/race/tags/v{number}").json() == winner.id
            )


def test_commands_and_imports_are_refused(server: Server, tmp_path: Path) -> None:
    env = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(server.store), **RULES}
    for arguments in (
        ("tag", "delete", "library/app", "latest", "v1"),
        ("repository", "delete", "library/app"),
        ("repository", "rename", "library/app", "team/new"),
    ):
        assert TEXT in call([*arguments, "--yes"], env, 1)[1]
    assert set(raw.get(server, f"{PATH}/tags").json()) >= {"v1", "latest"}
    assert raw.get(server, "/v1/repositories/team/new/tags").status == 404
    other = tmp_path / "other"
    with Server(other) as source:
        upload(source, TWO)
        expect(raw.put(source, f"{PATH}/", listed(TWO, "v1")))
        expect(raw.put(source, f"{PATH}/tags/v1", quoted(TWO.id)))
    archive = str(tmp_path / "app.tar")
    call(["export", archive, "--quiet"], {**env, "STORAGE_PATH": str(other)}, 0)
    found = call(["import", archive, "--json", "--quiet"], env, 3)
    assert TEXT in found[0] + found[1]
    assert raw.get(server, f"{PATH}/tags/v1").json() == ONE.id


def test_an_index_keeps_its_row_of_a_repository_that_is_not_deleted(tmp_path: Path) -> None:
    rules = {"IMMUTABLE_TAGS": '[{repository: "team/billing", tags: "1.*"}]'}
    with demo(tmp_path, **rules) as server:
        ann = Visitor(server)
        assert ann.sign_in("ann").status == 303
        before = raw.get(server, "/v1/search?q=billing").body
        for path, fields in (
            ("delete/team/billing", {"confirmed": "1"}),
            ("delete-tags/team/billing", {"tag": ["latest", "1.9.0"], "confirmed": "1"}),
        ):
            answer = ann.post(f"/ui/repositories/{path}", fields)
            assert answer.status == 409
            assert b"is immutable by the rule team/billing:1.* of immutable_tags" in answer.body
        tags = raw.get(server, "/v1/repositories/team/billing/tags").json()
        assert {"latest", "1.9.0"} <= set(tags)
        assert raw.get(server, "/v1/search?q=billing").body == before
        assert (
            ann.post(
                "/ui/repositories/delete-tags/team/billing", {"tag": "latest", "confirmed": "1"}
            ).status
            == 303
        )
