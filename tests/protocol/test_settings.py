"""What the configuration changes in the answers."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine, seed
from tests.protocol.engine import tar

GOLDEN = Path(__file__).parent.parent / "fixtures" / "golden" / "store-0.9.1"
TOP = "6972e06692e82c197f35ad17b1959876319d26e02e0a7af77296e668e2f87eb1"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "store"))


def test_registry_endpoints(golden: Path) -> None:
    """A line each: engines up to 0.10 take a whole line for one host, later ones split it, too."""
    with Server(golden, env={"REGISTRY_ENDPOINTS": "one:5000,two:5001"}) as server:
        answer = raw.get(server, "/v1/repositories/libtest/d101/images")
        assert answer.all("X-Docker-Endpoints") == ["one:5000", "two:5001"]


def test_x_accel_redirect(golden: Path) -> None:
    """nginx sends the file; HEAD, ranges and 304 are told apart before or by it (protocol-v1.md section 2)."""
    with Server(golden, env={"NGINX_X_ACCEL_REDIRECT": "/_layers"}) as server:
        for method in ("GET", "HEAD"):
            answer = raw.request(server, method, f"/v1/images/{TOP}/layer")
            assert (answer.status, answer.body) == (200, b"")
            assert answer.header("X-Accel-Redirect") == f"/_layers/images/{TOP}/layer"
            assert answer.header("Cache-Control") == "public, max-age=31536000"
            assert answer.header("Content-Type") == "application/octet-stream"
        known = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}
        answer = raw.get(server, f"/v1/images/{TOP}/layer", known)
        assert (answer.status, answer.header("X-Accel-Redirect")) == (304, None)
        assert raw.get(server, f"/v1/images/{'a' * 64}/layer").status == 404
        assert raw.get(server, f"/v1/images/{TOP}/json").header("X-Accel-Redirect") is None


def test_search_is_off_unless_configured(golden: Path) -> None:
    with Server(golden, env={"SEARCH_BACKEND": "false"}) as server:
        answer = raw.get(server, "/v1/search?q=d101")
        assert (answer.status, answer.json()["results"]) == (200, [])
        answer = raw.get(server, "/v1/index/repositories")
        assert answer.status == 404
        assert (answer.header("Content-Type") or "").startswith("text/html")


def test_limits(tmp_path: Path) -> None:
    environ = {"LIMITS_JSON": "2KiB", "LIMITS_FILES_ENTRIES": "2", "LIMITS_FILES_BYTES": "1KiB"}
    shutil.copytree(GOLDEN, tmp_path / "store")
    with Server(tmp_path / "store", env=environ) as server:
        body = b"[" + b" " * 4096 + b"]"
        answer = raw.put(server, "/v1/repositories/a/b/", body=body)
        assert (answer.status, set(answer.json())) == (413, {"error"})
        answer = raw.get(server, f"/v1/images/{TOP}/files")
        assert answer.status == 400
        assert "more than" in answer.json()["error"]
        assert raw.put(server, "/v1/repositories/a/b/", body=b"[]").status == 200


@pytest.mark.parametrize("part", ["files", "diff"])
def test_a_gzip_bomb_is_a_clear_error(tmp_path: Path, part: str) -> None:
    bomb = gzip.compress(tar({"zeros": bytes(64 * 1024 * 1024)}), mtime=0)
    below = engine.image("a bomb", layer=bomb)
    # Also where the bomb is what a layer is compared with.
    above = engine.image("on a bomb", below, gzip.compress(tar({"zeros": b"0"}), mtime=0))
    for made in (below, above):
        seed.image(tmp_path / "store", made.json, made.layer, made.ancestry, [made.checksum])
    with Server(tmp_path / "store", env={"LIMITS_FILES_BYTES": "1MiB"}) as server:
        asked = below if part == "files" else above
        answer = raw.get(server, asked.path(part))
        assert (answer.status, set(answer.json())) == (400, {"error"})
        assert "more than" in answer.json()["error"]
        assert raw.get(server, below.path("layer")).body == bomb


def test_responses_disclose_only_the_version(golden: Path) -> None:
    with Server(golden, env={"DEBUG": "true", "LOGLEVEL": "debug"}) as server:
        for path in ("/_ping", "/v1/_ping"):
            answer = raw.get(server, path)
            assert answer.body == b"{}"
            assert answer.header("X-Docker-Registry-Version")
            assert answer.header("X-Docker-Registry-Standalone") == "True"
            assert answer.header("X-Docker-Registry-Config") is None
            assert answer.header("Server") == "gunicorn"
