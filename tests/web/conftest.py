"""Fixtures of the pages: one browser for all tests, and a registry with an index and repositories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.index.conftest import PASSWORD, here, open_database
from tests.live_server import Server
from tests.needs import require
from tests.protocol import engine, seed
from tests.test_upgrade import command
from tests.web.browser import Chromium
from v1registry.index.accounts import AccountStore
from v1registry.index.namespaces import Namespaces

ROLES = ("anonymous", "reader", "writer", "root")
#: Text that must never become markup.
HOSTILE = "<img src=x onerror=alert(1)>\"'&<script>alert(2)</script>"

#: An image of the private repository of `site` only.
HIDDEN = engine.image("hidden")


@dataclass(frozen=True)
class Site:
    """A server whose index has the accounts of `ROLES`, and its database."""

    server: Server
    database: str


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    require("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = Chromium(playwright)
        yield running
        running.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A registry with an index: `team/public`, `team/private` and 60 more of `library`.

    `reader` may pull from `team`, `writer` may push, `root` is an administrator. All tests share it:
    a test adds accounts and repositories of its own before it changes them.
    """
    folder = tmp_path_factory.mktemp("site")
    store, url = folder / "store", f"sqlite:///{folder}/index.db"
    names = ["team/public", "team/private", *(f"library/image-{n:02}" for n in range(60))]
    base = engine.image("base")
    seed.image(store, base.json, base.layer, base.ancestry, [base.checksum])
    for name in names:
        seed.tags(store / "repositories" / name, {"latest": base.id})
        seed.image_list(store / "repositories" / name, [{"id": base.id}])
    seed.image(store, HIDDEN.json, HIDDEN.layer, HIDDEN.ancestry, [HIDDEN.checksum])
    seed.tags(store / "repositories/team/private", {"latest": base.id, "hidden": HIDDEN.id})
    (store / "repositories" / "team/private" / "_private").touch()
    environ = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(store), "INDEX_DATABASE": url}
    for words in (["backfill"], ["index", "rebuild"]):
        done = command(*words, **environ)
        assert done.returncode == 0, done.stderr
    _accounts(url)
    with Server(store, env={"INDEX_DATABASE": url}) as server:
        yield Site(server, url)


def _accounts(url: str) -> None:
    database = open_database(url)
    accounts, namespaces = AccountStore(database, here), Namespaces(database)
    for name in ROLES[1:]:
        accounts.add(name, PASSWORD, is_admin=name == "root")
    namespaces.grant("reader", "pull", "team")
    namespaces.grant("writer", "push", "team")
    database.close()
