"""Image JSONs in words, as engines wrote them and as no engine would."""

from __future__ import annotations

import json
from typing import Any

import pytest

from v1registry.lib.images.description import describe

CONFIG = {
    "Env": ["PATH=/bin", "EMPTY="],
    "Cmd": ["/srv/run", '--name="x"'],
    "Entrypoint": "/init",
    "ExposedPorts": {"8080/tcp": {}, "443/tcp": {}},
    "Volumes": {"/data": {}},
    "Labels": {"b": "2", "a": "1"},
    "User": "www-data",
    "WorkingDir": "/srv",
}
ENGINE = {
    "created": "2015-01-08T11:20:00.123456789Z",
    "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop) CMD [\"/srv/run\"]"]},
    "docker_version": "1.6.2",
    "author": "Ann <ann@example.org>",
    "comment": "a comment",
    "config": CONFIG,
    "architecture": "amd64",
    "os": "linux",
    "Size": 12,
}  # fmt: skip


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_an_image_of_an_engine():
    found = describe(dumped(ENGINE))
    assert found.created == pytest.approx(1420716000.123456)
    assert (found.step, found.arguments) == ("CMD", '["/srv/run"]')
    assert (found.author, found.comment, found.docker_version) == (
        "Ann <ann@example.org>",
        "a comment",
        "1.6.2",
    )
    assert (found.platform, found.size, found.user) == ("linux/amd64", 12, "www-data")
    assert found.command == '["/srv/run", "--name=\\"x\\""]'
    assert found.entrypoint == '["/init"]'
    assert found.environment == ["PATH=/bin", "EMPTY="]
    assert found.ports == ["443/tcp", "8080/tcp"]
    assert (found.volumes, found.working_dir) == (["/data"], "/srv")
    assert found.labels == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["/bin/sh", "-c", "apt-get update"], ("RUN", "apt-get update")),
        (["/bin/sh", "-c", "#(nop) ADD file:12 in /"], ("ADD", "file:12 in /")),
        (["/bin/sh -c #(nop) ", "ENV A=1"], ("ENV", "A=1")),
        (["/bin/sh", "-c", "#(nop) <script>alert(1)</script>"], ("", "<script>alert(1)</script>")),
        (["/init", "now"], ("RUN", "/init now")),
        (["#(nop) CMD x"], ("RUN", "#(nop) CMD x")),
        ([], ("", "")),
        (None, ("", "")),
        ([1, {}], ("", "")),
    ],
)
def test_the_line_of_a_dockerfile(command: Any, line: tuple[str, str]):
    found = describe(dumped({"container_config": {"Cmd": command}}))
    assert (found.step, found.arguments) == line


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"no JSON",
        b"[" * 100_000,
        dumped(dict.fromkeys(ENGINE, 1)),
        dumped({"config": dict.fromkeys(CONFIG, 1)}),
        dumped({"created": "0001-01-01T00:00:00Z", "Size": -1}),
        dumped({"created": "yesterday", "Size": 10**400}),
    ],
)
def test_other_values_count_as_missing(document: bytes):
    found = describe(document)
    assert found.created is None
    assert (found.command, found.environment, found.labels, found.author) == ("", [], [], "")
    assert found.size in (None, 1)


def test_every_text_can_be_sent():
    found = describe(
        rb'{"author": "\ud800", "config": {"Env": ["\udfff=1"], "Labels": {"\ud800": "\ud800"}}}'
    )
    texts = [found.author, *found.environment, *found.labels[0]]
    assert texts == ["?", "?=1", "?", "?"]
