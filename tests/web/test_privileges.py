"""The privilege table of the pages: every page and every form, as every kind of visitor.

A page that this table does not know fails here. A form without its CSRF token gets 403 from every page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.web.client import Visitor
from tests.web.conftest import ROLES, Site
from v1registry.app import create_app
from v1registry.config import load_config


@dataclass(frozen=True)
class Row:
    """A page: its path, the fields of its form, and the status for each of `ROLES`."""

    path: str
    statuses: tuple[int, int, int, int]
    fields: dict[str, str] | None = None


SAME = (200, 200, 200, 200)

#: (endpoint, method) -> rows; further rows of one page, for another repository, have a third word.
TABLE: dict[tuple[str, ...], Row] = {
    ("repositories", "GET"): Row("/ui/", SAME),
    ("static", "GET"): Row("/ui/static/0/style.css", SAME),
    ("unknown", "GET"): Row("/ui/none", (404, 404, 404, 404)),
    ("unknown", "POST"): Row("/ui/none", (404, 404, 404, 404), {}),
    ("unknown", "PUT"): Row("/ui/none", (404, 404, 404, 404), {}),
    ("unknown", "PATCH"): Row("/ui/none", (404, 404, 404, 404), {}),
    ("unknown", "DELETE"): Row("/ui/none", (404, 404, 404, 404), {}),
    # a user who is signed in is led to the next page
    ("sign_in", "GET"): Row("/ui/sign-in", (200, 303, 303, 303)),
    ("sign_in_now", "POST"): Row("/ui/sign-in", (401, 401, 401, 401), {"name": "x"}),
    ("sign_out", "POST"): Row("/ui/sign-out", (303, 303, 303, 303), {}),
}


def test_the_table_has_every_page(tmp_path: Path) -> None:
    environ = {
        "SETTINGS_FLAVOR": "test",
        "STORAGE_PATH": str(tmp_path / "store"),
        "INDEX_DATABASE": f"sqlite:///{tmp_path}/index.db",
    }
    found = {
        (rule.endpoint.removeprefix("web."), method)
        for rule in create_app(load_config(environ=environ)).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint.startswith("web.")
    }
    assert found == {key[:2] for key in TABLE}


@pytest.mark.parametrize("role", ROLES)
def test_privileges(site: Site, role: str) -> None:
    visitor = Visitor(site.server)
    if role == "anonymous":
        visitor.get("/ui/sign-in")  # for a CSRF token
    else:
        assert visitor.sign_in(role).status == 303
    found = {}
    for key, row in TABLE.items():
        wanted = row.statuses[ROLES.index(role)]
        status = visitor.ask(key[1], row.path, row.fields).status
        if status != wanted:
            found[key] = (status, wanted)
        if key[1] != "GET":
            without = Visitor(site.server)
            without.cookies = dict(visitor.cookies)
            assert without.ask(key[1], row.path, row.fields).status == 403, key
    assert found == {}
