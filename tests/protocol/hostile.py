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


def refused(answer: raw.Answer, status: int, message: str | None = None) -> None:
    """Check the status and the JSON of an error, and its message if one is given."""
    assert answer.status == status, str(answer)
    assert answer.header("Content-Type") == "application/json", str(answer)
    body = answer.json()
    assert list(body) == ["error"], str(answer)
    assert isinstance(body["error"], str)
    assert message in (None, body["error"]), str(answer)


def unrouted(answer: raw.Answer, status: int) -> None:
    """Check the response to a path or method without a handler: HTML with 404 or 405."""
    assert answer.status == status, str(answer)
    assert (answer.header("Content-Type") or "").startswith("text/html"), str(answer)
