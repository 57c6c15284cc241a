"""A server with low limits for tests of hostile input, and a check of its store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests import raw
from tests.live_server import Server
from tests.oldregistry import OldRegistry
from tests.protocol import engine
from tests.protocol.engine import image

BASE = image("base")
LIMIT_JSON, LIMIT_LAYER = 64 * 1024, 1024 * 1024


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[Server]:
    """A server with its store in `folder`, beside a file that no client may reach."""
    (folder / "outside").mkdir()
    (folder / "outside" / "secret").write_text("secret")
    limits = {"LIMITS_JSON": str(LIMIT_JSON), "LIMITS_LAYER": str(LIMIT_LAYER)}
    with Server(folder / "store", env=limits) as running:
        engine.push(running, "safe/app", [BASE], ["latest"])
        yield running


def check_store(server: Server) -> None:
    """Check that the store is valid for 0.9.1, no file is beside it, and no request gave 500."""
    around = server.store.parent
    assert {path.name for path in around.iterdir()} == {"store", "outside"}
    assert {path.name for path in (around / "outside").iterdir()} == {"secret"}
    assert OldRegistry(server.store).problems() == []
    assert raw.get(server, BASE.path("json")).body == BASE.json
    assert raw.get(server, "/v1/repositories/safe/app/tags").json() == {"latest": BASE.id}
    assert "Traceback" not in server.log


def refused(answer: raw.Answer, *statuses: int) -> None:
    """Check for one of these statuses and the form of an error; HTML only for 404 without a route."""
    assert answer.status in statuses, str(answer)
    kind = answer.header("Content-Type") or ""
    if kind.startswith("text/html"):
        assert answer.status in (404, 405), str(answer)
        return
    assert kind == "application/json", str(answer)
    body = answer.json()
    assert list(body) == ["error"], str(answer)
    assert isinstance(body["error"], str)
