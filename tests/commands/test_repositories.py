"""The commands `tag` and `repository`, on a store with and without an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import raw
from tests.live_server import Server
from tests.oldregistry import OldRegistry
from tests.protocol.engine import expect, image, push
from v1registry.commands.cli import main

BASE = image("base")
TOP = image("top", BASE)


class Commands:
    """Runs commands on the store of a server, in this process, which is faster."""

    def __init__(self, server: Server, **environ: str) -> None:
        self._env = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(server.store)} | environ

    def __call__(self, *arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(main, arguments, env=self._env)
        assert result.exit_code == status, result.output
        return result.stdout if status == 0 else result.stderr

    def json(self, *arguments: str) -> object:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "store") as server:
        push(server, "library/app", [BASE, TOP], ["1", "latest"])
        push(server, "team/tool", [BASE], ["1"])
        expect(raw.put(server, "/v1/repositories/team/tool/properties", b'{"access": "private"}'))
        yield server


def tags(server: Server, name: str) -> object:
    answer = raw.get(server, f"/v1/repositories/{name}/tags")
    return answer.json() if answer.status == 200 else answer.status


def test_lists(server: Server) -> None:
    run = Commands(server)
    assert run.json("repository", "list") == [
        {"name": "library/app", "tags": 2, "is_private": False},
        {"name": "team/tool", "tags": 1, "is_private": True},
    ]
    assert run("repository", "list", "team/*").splitlines()[1:] == ["team/tool  1     yes"]
    assert run.json("tag", "list", "library/app") == [
        {"tag": "1", "image": TOP.id},
        {"tag": "latest", "image": TOP.id},
    ]
    assert "Repository not found" in run("tag", "list", "library/none", status=1)


def test_tags_are_deleted_after_confirmation(server: Server) -> None:
    run = Commands(server)
    text = run("tag", "delete", "library/app", "1", status=1)
    assert "Delete 1 (also tagged latest) of library/app? Confirm with --yes" in text
    assert tags(server, "library/app") == {"1": TOP.id, "latest": TOP.id}
    assert run("tag", "delete", "library/app", "1", "--yes") == "library/app:1 deleted\n"
    assert tags(server, "library/app") == {"latest": TOP.id}
    assert "Tag not found: 1" in run("tag", "delete", "library/app", "1", "--yes", status=1)


def test_a_repository_is_deleted(server: Server) -> None:
    run = Commands(server)
    assert "Delete library/app with 2 tags?" in run("repository", "delete", "library/app", status=1)
    assert run("repository", "delete", "library/app", "--yes") == "library/app deleted\n"
    assert tags(server, "library/app") == 404
    assert raw.get(server, TOP.path("json")).status == 200  # until garbage collection


def test_a_repository_is_renamed(server: Server) -> None:
    run = Commands(server)
    renamed = run("repository", "rename", "team/tool", "library/tool", "--yes")
    assert renamed == "team/tool is library/tool now\n"
    assert (tags(server, "team/tool"), tags(server, "library/tool")) == (404, {"1": BASE.id})
    properties = raw.get(server, "/v1/repositories/library/tool/properties").json()
    assert properties == {"access": "private"}
    listed = raw.get(server, "/v1/repositories/library/tool/images").json()
    assert [item["id"] for item in listed] == [BASE.id]
    assert OldRegistry(server.store).tags("library/tool") == {"1": BASE.id}
    text = run("repository", "rename", "library/tool", "library/app", "--yes", status=1)
    assert "A repository of this name exists already" in text
    assert tags(server, "library/app") == {"1": TOP.id, "latest": TOP.id}
    text = run("repository", "rename", "library/tool", "library/tool", "--yes", status=1)
    assert "exists already" in text
    assert tags(server, "library/tool") == {"1": BASE.id}


def test_an_interrupted_rename_is_continued(server: Server) -> None:
    copy = server.store / "repositories" / "library" / "tool"
    copy.mkdir()
    (copy / "tag_1").write_text(BASE.id)
    Commands(server)("repository", "rename", "team/tool", "library/tool", "--yes")
    assert (tags(server, "team/tool"), tags(server, "library/tool")) == (404, {"1": BASE.id})


def test_nothing_is_changed_with_read_only(server: Server) -> None:
    run = Commands(server, READ_ONLY="true")
    for arguments in (
        ("tag", "delete", "library/app", "1"),
        ("repository", "delete", "library/app"),
        ("repository", "rename", "library/app", "library/other"),
    ):
        assert "read_only is set" in run(*arguments, "--yes", status=1)
    assert run.json("tag", "list", "team/tool") == [{"tag": "1", "image": BASE.id}]
