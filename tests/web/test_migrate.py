"""The page that prepares a migration: what the visitor may pull, the commands, hostile input."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests import raw
from tests.index.conftest import PASSWORD
from tests.live_server import Server
from tests.protocol import engine, seed
from tests.web.browser import WIDTHS, Chromium, accessible, screenshot, sign_in
from tests.web.client import Visitor
from tests.web.conftest import HOSTILE
from tests.web.demo import demo


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with demo(tmp_path_factory.mktemp("migrate")) as running:
        yield running


def shown(visitor: Visitor, **query: str) -> dict[str, list[str]]:
    """Return the cells of each repository that the page shows."""
    answer = visitor.get(f"/ui/migrate?{urlencode(query)}")
    assert answer.status == 200
    table = answer.body.decode().partition("<tbody>")[2].partition("</tbody>")[0]
    rows = [re.sub(r"<[^>]+>|\s+", " ", row).split() for row in table.split("</tr>")[:-1]]
    return {row[0]: row[1:] for row in rows}


def commands(body: bytes) -> list[str]:
    found = re.findall(r"<code>(.+?)</code>", body.decode())
    return [html.unescape(re.sub(r"</?span[^>]*>", "", text)) for text in found]


def test_only_repositories_that_the_visitor_may_pull(server: Server):
    visitor = Visitor(server)
    public = shown(visitor)
    assert visitor.sign_in("ann").status == 303
    more = shown(visitor)
    assert "team/billing" in public
    assert set(public) < set(more)


def test_patterns_and_new_names(server: Server):
    visitor = Visitor(server)
    found = shown(visitor, repositories="team/billing*", tags="latest 1.10.1", map="team/=apps/")
    assert found["team/billing"][:3] == ["→", "apps/billing", "2"]
    assert set(found) <= {"team/billing", "team/billing-worker"}
    assert "MB" in found["team/billing"][-1] or "kB" in " ".join(found["team/billing"])
    assert set(shown(visitor, repositories="busybox")) == {"library/busybox"}
    assert shown(visitor, repositories="none/*") == {}
    page = visitor.get("/ui/migrate?map=library/busybox=library/debian").body
    assert b"would both become library/debian" in page
    page = visitor.get("/ui/migrate?map=library/busybox=No").body
    assert b"no name for a v2 registry" in page


def test_the_commands_are_quoted(server: Server):
    query = urlencode(
        {"to": "registry.example.org", "repositories": "team/* $(id);", "format": "oci"}
    )
    login, dry, copy = commands(raw.get(server, f"/ui/migrate?{query}").body)
    assert login == "docker login registry.example.org"
    assert dry == f"{copy} --dry-run"
    assert shlex.split(copy) == [
        "v1registry", "migrate", "--to", "https://registry.example.org",
        "--repositories", "team/*", "--repositories", "$(id);", "--format", "oci",
    ]  # fmt: skip
    assert commands(raw.get(server, "/ui/migrate").body) == []


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"to": "ftp://x"}, "must be https://host[:port], or http://"),
        ({"to": "https://user:secret@x"}, "docker login"),
        ({"to": HOSTILE}, "must be https://host"),
        ({"map": "team"}, "must be OLD=NEW"),
        ({"map": HOSTILE.replace("=", "")}, "must be OLD=NEW"),
        ({"repositories": "a " * 11}, "At most 10 words"),
        ({"tags": "x" * 201}, "At most 10 words"),
        ({"tags": "a\u202eb"}, "At most 10 words"),
    ],
)
def test_wrong_input(server: Server, query: dict[str, str], text: str):
    answer = raw.get(server, f"/ui/migrate?{urlencode(query)}")
    body = answer.body.decode()
    assert answer.status == 400
    assert text in body
    assert "<img src=x" not in body
    assert "v1registry migrate --to" not in body


def test_hostile_patterns_stay_text_and_take_no_time(server: Server):
    for pattern in (HOSTILE.replace(" ", ""), "*a" * 50 + "!", "[" * 100, "[!]-]*?" * 20):
        answer = raw.get(server, f"/ui/migrate?{urlencode({'repositories': pattern, 'to': 'x'})}")
        assert answer.status == 200
        assert b"<img" not in answer.body
        assert shlex.split(commands(answer.body)[2])[-1] == pattern


def test_a_store_without_a_database_in_pages(tmp_path: Path):
    base, store = engine.image("base"), tmp_path / "store"
    seed.image(store, base.json, base.layer, base.ancestry, [base.checksum])
    for number in range(30):
        seed.tags(
            store / "repositories/many" / f"image-{number:02}", {"v1": base.id, "v2": base.id}
        )
    seed.tags(store / "repositories/many/private", {"v1": base.id})
    (store / "repositories/many/private/_private").touch()
    with Server(store) as server:
        visitor = Visitor(server)
        first, second = shown(visitor), shown(visitor, page="2")
        assert (len(first), len(second)) == (25, 5)
        assert not first.keys() & second.keys()
        assert "many/private" not in {**first, **second}
        assert first["many/image-00"][0] == "2"


@pytest.mark.parametrize(
    ("width", "has_scripts"), [(width, True) for width in WIDTHS] + [(1440, False)]
)
def test_in_the_browser(chromium: Chromium, server: Server, width: int, has_scripts: bool):
    with chromium.visit(server, width=width, has_scripts=has_scripts) as page:
        sign_in(page, "ann", PASSWORD)
        page.get_by_role("link", name="Migrate").click()
        page.get_by_label("Target registry").fill("https://harbor.example.org")
        page.get_by_label("Repositories", exact=True).fill("team/* busybox")
        page.get_by_label("New names").fill("team/=apps/")
        page.get_by_role("button", name="Show the commands").click()
        page.get_by_text("v1registry migrate --to").first.wait_for()
        page.get_by_text("→ apps/billing", exact=True).wait_for()
        if has_scripts:
            accessible(page)
            screenshot(page, f"migrate-{width}")
