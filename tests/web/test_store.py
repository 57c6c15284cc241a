"""The page of the store: totals, health, free space, garbage collections, for administrators only."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests import raw
from tests.index.conftest import PASSWORD, here, open_database
from tests.live_server import Server
from tests.rights.accounts import basic, environment, password_file
from tests.web.browser import WIDTHS, Chromium, accessible, screenshot, sign_in
from tests.web.client import Visitor
from tests.web.conftest import HOSTILE, Site
from v1registry.index.accounts import AccountStore


def figures(body: bytes) -> dict[str, str]:
    found = re.findall(
        r'<h2[^>]*>([^<]+)</h2><p class="figure">(?:<[^>]+>)?([^<]+)<', body.decode()
    )
    return dict(found)


def test_totals_of_an_index(site: Site):
    root = Visitor(site.server)
    root.sign_in("root")
    body = root.get("/ui/store").body
    found = figures(body)
    store = Path(site.server.store) / "repositories"
    names, tags = list(store.glob("*/*")), list(store.glob("*/*/tag_*"))
    assert len(tags) >= len(names) >= 62
    assert (found["Repositories"], found["Tags"]) == (str(len(names)), str(len(tags)))
    assert "B" in found["Free space"]
    assert body.count(b">works</span>") == 2
    assert b"SQLite" in body
    assert b"local files" in body
    assert site.database.encode() not in body


def test_totals_without_a_database(tmp_path: Path):
    with Server(tmp_path / "store") as server:
        body = raw.get(server, "/ui/store").body
        assert figures(body)["Repositories"] == "0"
        assert "Tags" not in figures(body)
        assert b"v1registry gc --dry-run" in body


def test_an_index_without_a_registry(tmp_path: Path):
    environ = {
        "INDEX_DATABASE": f"sqlite:///{tmp_path}/index.db",
        "INDEX_ALONE": "true",
        "REGISTRY_ENDPOINTS": "registry.example.org",
    }
    with Server(tmp_path / "store", env=environ) as server:
        add_root(environ)
        root = Visitor(server)
        root.sign_in("root")
        body = root.get("/ui/store").body
        assert figures(body) == {"Repositories": "0", "Tags": "0"}
        assert b"Garbage collection" not in body
        assert root.get("/ui/migrate").status == 404
        assert b">Migrate</a>" not in body
        assert root.get("/ui/accounts/root").status == 200


def test_administrators_without_an_index(tmp_path: Path):
    environ = environment(password_file(tmp_path, ["ann", "bob"]), ADMINS="bob")
    with Server(tmp_path / "store", env=environ) as server:
        ann = Visitor(server)
        assert ann.sign_in("ann", "open sesame").status == 303
        assert ann.get("/ui/store").status == 403
        assert b">Store</a>" not in ann.get("/ui/").body
        state = {"reason": HOSTILE}
        headers = {**basic("bob"), "Content-Type": "application/json"}
        body = json.dumps(state).encode()
        assert raw.request(server, "PUT", "/v1/admin/readonly", headers, body).status == 200
        bob = Visitor(server)
        assert bob.sign_in("bob", "open sesame").status == 303
        page = bob.get("/ui/store").body
        assert b"bob made the store read-only:" in page
        assert b"<img src=x" not in page
        assert b">Accounts</a>" not in page


def test_a_garbage_collection_that_has_not_finished(tmp_path: Path):
    folder = tmp_path / "store/_v1registry/gc"
    with Server(tmp_path / "store") as server:
        for name, is_hiding in (
            ("20261130T101500Z-0a1b2c3d", True),
            ("20261129T101500Z-0a1b2c3d", False),  # over, or not yet begun
            ("something else", True),
        ):
            (folder / name).mkdir(parents=True)
            (folder / name / "plan").write_text(json.dumps({}))
            if is_hiding:
                (folder / name / "hidden").write_bytes(b"")
        body = raw.get(server, "/ui/store").body.decode()
        assert re.findall(r'Began: <time datetime="([^"]+)"', body) == ["2026-11-30T10:15:00Z"]
        assert "--dry-run" not in body


def test_a_store_that_is_away(tmp_path: Path):
    """The page says so, and shows what the database knows."""
    store, environ = tmp_path / "store", {"INDEX_DATABASE": f"sqlite:///{tmp_path}/index.db"}
    with Server(store, env=environ) as server:
        root = Visitor(server)
        add_root(environ)
        root.sign_in("root")
        shutil.move(store, tmp_path / "away")
        body = root.get("/ui/store").body
        assert b"cannot be used now" in body
        assert b"cannot be read" in body
        assert figures(body) == {"Repositories": "0", "Tags": "0"}
        assert str(store).encode() not in body


def add_root(environ: dict[str, str]) -> None:
    database = open_database(environ["INDEX_DATABASE"])
    AccountStore(database, here).add("root", PASSWORD, is_admin=True)
    database.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_in_the_browser(chromium: Chromium, site: Site, width: int):
    with chromium.visit(site.server, width=width, is_dark=width == 390) as page:
        sign_in(page, "root", PASSWORD)
        page.get_by_role("link", name="Store").click()
        page.get_by_role("heading", name="Health").wait_for()
        accessible(page)
        screenshot(page, f"store-{width}")
