"""Tags and their metadata beyond the single rows: deletion, the User-Agent, names with `_`."""

from __future__ import annotations

import time

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import image, quoted
from tests.protocol.table import Row, check, error

pytestmark = pytest.mark.every_store

BASE = image("base")
CHILD = image("child", BASE)

AGENT = (
    "docker/1.5.0 go/go1.4.1 git-commit/a8a31ef kernel/3.19.0-GENERIC os/Linux arch/AMD64 odd / x"
)
DEFAULTS = {
    "arch": "amd64",
    "docker_go_version": None,
    "docker_version": None,
    "kernel": None,
    "last_update": None,
    "os": "linux",
}


@pytest.fixture(scope="module", autouse=True)
def _world(server: Server) -> None:
    for finished in (BASE, CHILD):
        engine.upload(server, finished)


def test_delete_a_tag(server: Server) -> None:
    path = "/v1/repositories/d/tag/tags/gone"
    engine.expect(raw.put(server, path, quoted(CHILD.id), {"User-Agent": AGENT}))
    engine.expect(raw.put(server, "/v1/repositories/d/tag/tags/stays", quoted(CHILD.id)))
    check(server, Row("tag", "DELETE", path, 200))
    check(server, Row("tag again", "DELETE", path, 404, error("Tag not found: gone")))
    check(server, Row("tag", "GET", path, 404, error("Tag not found")))
    check(server, Row("its metadata", "GET", f"{path}/json", 200, DEFAULTS))
    tags = "/v1/repositories/d/tag/tags"
    check(server, Row("the other", "GET", tags, 200, {"stays": CHILD.id}))
    assert raw.get(server, CHILD.path("json")).status == 200


def test_metadata_of_a_tag(server: Server) -> None:
    """The values come from the User-Agent; missing words give no value (protocol-v1.md section 4)."""
    before = int(time.time())
    for tag in ("latest", "other"):
        path = f"/v1/repositories/m/one/tags/{tag}"
        engine.expect(raw.put(server, path, quoted(CHILD.id), {"User-Agent": AGENT}))
    found = raw.get(server, "/v1/repositories/m/one/tags/other/json").json()
    assert before <= found.pop("last_update") <= int(time.time())
    assert found == {
        "docker_version": "1.5.0",
        "docker_go_version": "go1.4.1",
        "kernel": "3.19.0-generic",
        "os": "linux",
        "arch": "amd64",
    }
    latest = raw.get(server, "/v1/repositories/m/one/tags/latest/json")
    assert raw.get(server, "/v1/repositories/m/one/json").body == latest.body


def test_metadata_of_a_nameless_client(server: Server) -> None:
    engine.expect(raw.put(server, "/v1/repositories/m/two/tags/v1", quoted(CHILD.id)))
    found = raw.get(server, "/v1/repositories/m/two/tags/v1/json").json()
    assert set(found) == {"last_update"}
    # only `latest` is the repository's
    check(server, Row("repository", "GET", "/v1/repositories/m/two/json", 200, DEFAULTS))


def test_tags_with_an_underscore(server: Server) -> None:
    """8, 4: the metadata of `_x` and the tag `x_json` have one file; neither harms the other."""
    other = image("under", BASE)
    engine.upload(server, other)
    path = "/v1/repositories/m/under/tags"
    for tag, target in (("_x", CHILD), ("x_json", other), ("_x", CHILD)):
        engine.expect(raw.put(server, f"{path}/{tag}", quoted(target.id)))
        assert raw.get(server, f"{path}/_x").json() == CHILD.id
    check(server, Row("tags", "GET", path, 200, {"_x": CHILD.id, "x_json": other.id}))
    assert isinstance(raw.get(server, f"{path}/_x/json").json(), dict)
    check(server, Row("_x", "DELETE", f"{path}/_x", 200))
    check(server, Row("tags", "GET", path, 200, {"x_json": other.id}))
    engine.expect(raw.put(server, f"{path}/_y", quoted(CHILD.id)))
    check(server, Row("y_json is no tag", "GET", f"{path}/y_json", 404, error("Tag not found")))
    check(server, Row("tags", "GET", path, 200, {"_y": CHILD.id, "x_json": other.id}))
