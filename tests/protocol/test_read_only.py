"""A registry beside another that writes: it serves, refuses every change, and touches nothing."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_server import Server
from tests.needs import needs

GOLDEN = Path(__file__).parent.parent / "fixtures" / "golden" / "store-0.9.1"
TOP = "6972e06692e82c197f35ad17b1959876319d26e02e0a7af77296e668e2f87eb1"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """The golden store on a file system that was mounted read-only."""
    mount = tmp_path / "store"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", mount], check=True)
    try:
        shutil.copytree(GOLDEN, mount, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def ask(server: Server, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path, body)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


@needs("tmpfs")
def test_read_only(mounted: Path) -> None:
    with Server(mounted, env={"READ_ONLY": "true", "CLEAN_INTERVAL": "1"}) as server:
        stored = mounted / "images" / TOP
        assert ask(server, "GET", f"/v1/images/{TOP}/json") == (200, (stored / "json").read_bytes())
        assert ask(server, "GET", f"/v1/images/{TOP}/layer") == (
            200,
            (stored / "layer").read_bytes(),
        )
        for part in ("ancestry", "files", "diff"):
            assert ask(server, "GET", f"/v1/images/{TOP}/{part}")[0] == 200
        assert ask(server, "GET", "/v1/repositories/libtest/d101/images")[0] == 200
        assert json.loads(ask(server, "GET", "/v1/repositories/libtest/d101/tags")[1]) == {
            "latest": TOP,
            "v2": TOP,
        }
        status, body = ask(server, "GET", "/_status")
        assert (status, json.loads(body)["failures"]) == (200, {})
        assert ask(server, "POST", "/v1/users/", b"{}")[0] == 201
        for method, path in (
            ("PUT", "/v1/repositories/libtest/new/"),
            ("PUT", "/v1/repositories/libtest/d101/images"),
            ("PUT", "/v1/repositories/libtest/d101/tags/new"),
            ("DELETE", "/v1/repositories/libtest/d101/tags/v2"),
            ("DELETE", "/v1/repositories/libtest/d101/"),
            ("PUT", f"/v1/images/{'a' * 64}/json"),
            ("PUT", f"/v1/images/{'a' * 64}/layer"),
            ("PUT", f"/v1/images/{'a' * 64}/checksum"),
        ):
            status, body = ask(server, method, path, b"[]")
            assert (status, json.loads(body)) == (
                503,
                {"error": "The registry is read-only at the moment"},
            ), (method, path)
        assert "Traceback" not in server.log


@needs("tmpfs")
def test_a_read_only_store_stops_the_start_without_the_option(mounted: Path) -> None:
    with pytest.raises(Exception, match=r"(?s)set read_only"):
        Server(mounted).__enter__()
