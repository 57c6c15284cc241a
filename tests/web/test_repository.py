"""The page of one repository: tags, deletion, stars, comments, descriptions, visibility, members."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.index.conftest import PASSWORD
from tests.live_server import Server
from tests.protocol import engine, seed
from tests.rights.accounts import Client, basic, environment, password_file
from tests.web.browser import WIDTHS, Chromium, accessible, screenshot, sign_in
from tests.web.client import Visitor
from tests.web.conftest import HOSTILE
from tests.web.demo import demo

BILLING = "/ui/repositories/team/billing"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture
def ann(server: Server) -> Visitor:
    """An administrator of the namespace `team`, signed in."""
    visitor = Visitor(server)
    assert visitor.sign_in("ann").status == 303
    return visitor


def push(server: Server, repository: str, tags: list[str]) -> engine.Image:
    one = engine.image(repository)
    client = Client(server, basic("ann", PASSWORD))
    client.push(repository, [one], tags[0])
    for tag in tags[1:]:
        client.tag(repository, one.id, tag)
    return one


@pytest.mark.parametrize("width", WIDTHS)
def test_the_pages_are_accessible(chromium: Chromium, server: Server, width: int) -> None:
    with chromium.visit(server, width=width, is_dark=width == 390) as page:
        sign_in(page, "ann", PASSWORD)
        page.goto(BILLING)
        page.locator("#tags:not([data-again])").wait_for()
        accessible(page)
        screenshot(page, f"repository-{width}")
        page.get_by_role("button", name="Delete the selected tags").click()
        page.get_by_text("No tag was selected.").wait_for()
        page.get_by_label("Select 1.9.0", exact=True).check()
        page.get_by_role("button", name="Delete the selected tags").click()
        page.get_by_role("dialog").wait_for()
        accessible(page)
        screenshot(page, f"confirm-{width}", whole=False)
        for path in ("descriptions", "members"):
            page.goto(f"/ui/{path}/team/billing")
            accessible(page)
            screenshot(page, f"{path}-{width}")


def test_what_an_anonymous_visitor_sees(chromium: Chromium, server: Server) -> None:
    with chromium.visit(server, path=BILLING) as page:
        page.locator("#tags:not([data-again])").wait_for()
        row = page.locator("tr", has_text="1.10.0")
        assert row.inner_text().count("MB") == 1
        row.get_by_text("linux/amd64").wait_for()
        assert page.locator("tbody tr .tag").all_inner_texts() == [
            "latest", "1.10.1", "1.10.0", "1.9.1", "1.9.0", "1.8.0",
        ]  # fmt: skip
        page.get_by_text(f"docker pull {server.host}/team/billing:latest").wait_for()
        page.get_by_role("searchbox").fill("1.9")
        page.locator("#tags tbody tr").nth(2).wait_for(state="detached")
        assert page.locator("#tags tbody tr").count() == 2
        page.get_by_role("heading", name="Releases").wait_for()
        for button in ("Delete", "Star", "Add the comment", "Make it private"):
            assert page.get_by_role("button", name=button).count() == 0
        assert page.get_by_role("checkbox").count() == 0


@pytest.mark.parametrize("has_scripts", [True, False])
def test_deleting_several_tags(chromium: Chromium, server: Server, has_scripts: bool) -> None:
    name = f"team/several-{has_scripts}".lower()
    push(server, name, ["a", "b", "c"])
    with chromium.visit(server, has_scripts=has_scripts) as page:
        sign_in(page, "ann", PASSWORD)
        page.goto(f"/ui/repositories/{name}")
        page.get_by_label("Select a", exact=True).check()
        page.get_by_label("Select c", exact=True).check()
        page.get_by_role("button", name="Delete the selected tags").click()
        page.get_by_text("which is also used by: tag b").first.wait_for()
        page.get_by_role("button", name="Delete", exact=True).click()
        page.get_by_text("2 tags are deleted.").wait_for()
        assert page.locator("tbody .tag").all_inner_texts() == ["b"]
        page.get_by_role("button", name="Delete the repository").click()
        page.get_by_role("heading", name=f"Delete {name}?").wait_for()
        page.get_by_role("button", name="Delete the repository", exact=True).click()
        page.get_by_text(f"The repository {name} is deleted.").wait_for()
    tags = raw.get(server, f"/v1/repositories/{name}/tags", basic("ann", PASSWORD))
    assert tags.status == 404


def test_fifty_tags_at_once_and_two_administrators(server: Server, ann: Visitor) -> None:
    tags = [f"t{number:02}" for number in range(55)]
    one = push(server, "team/many", tags)
    Client(server, basic("ann", PASSWORD)).push("team/also", [one])
    path = "/ui/repositories/delete-tags/team/many"
    asked = ann.post(path, {"tag": tags[:50]})
    assert asked.status == 200
    assert "tag t54, tag t53" in asked.body.decode() or "tag t50" in asked.body.decode()
    assert b"team/also" in asked.body
    other = Visitor(server)
    other.sign_in("root")
    assert other.post(path, {"tag": tags[:3], "confirmed": "1"}).status == 303
    assert ann.post(path, {"tag": tags[:50], "confirmed": "1"}).status == 303
    page = ann.get("/ui/repositories/team/many").body
    assert b"47 tags are deleted. 3 had been deleted before." in page
    left = raw.get(server, "/v1/repositories/team/many/tags", basic("ann", PASSWORD)).json()
    assert sorted(left) == tags[50:]


def test_a_confirmation_names_no_repository_that_the_visitor_may_not_see(
    server: Server, ann: Visitor
) -> None:
    one = push(server, "team/base", ["latest"])
    Client(server, basic("alice", PASSWORD)).push("alice/experiments", [one], "stolen")
    asked = ann.post("/ui/repositories/delete-tags/team/base", {"tag": "latest"}).body
    assert b"nothing else" in asked
    assert b"alice" not in asked


def test_stars_and_comments(chromium: Chromium, server: Server) -> None:
    push(server, "team/loved", ["latest"])
    with chromium.visit(server) as page:
        sign_in(page, "bob", PASSWORD)
        page.goto("/ui/repositories/team/loved")
        page.get_by_role("button", name="Star 0").click()
        page.get_by_role("button", name="Star 1").click()
        page.get_by_role("button", name="Star 0").wait_for()
        page.get_by_label("Your comment").fill(f"{HOSTILE}\nsecond line")
        page.get_by_role("button", name="Add the comment").click()
        text = page.locator(".comment .text")
        assert text.inner_text() == f"{HOSTILE}\nsecond line"
        page.get_by_text("Edit", exact=True).click()
        page.get_by_label("Comment", exact=True).fill("better")
        page.get_by_role("button", name="Save").click()
        assert text.inner_text() == "better"
    moderator = Visitor(server)
    moderator.sign_in("ann")
    page_of = moderator.get("/ui/repositories/team/loved").body.decode()
    number = page_of.split('name="id" value="')[1].split('"')[0]
    # the words of others can be deleted, but not changed
    answer = moderator.post("/ui/comments/team/loved", {"id": number, "text": "forged"})
    assert answer.status == 404
    assert moderator.post("/ui/comments/delete/team/loved", {"id": number}).status == 303
    assert b"There are no comments yet." in moderator.get("/ui/repositories/team/loved").body
    assert moderator.post("/ui/comments/team/loved", {"text": " "}).status == 400
    assert moderator.post("/ui/comments/team/loved", {"id": "x", "text": "y"}).status == 400


def test_descriptions(server: Server, ann: Visitor) -> None:
    push(server, "team/told", ["latest"])
    fields = {"short": HOSTILE, "full": f"# Title\r\n{HOSTILE}\n[x](javascript:alert(1))"}
    assert ann.post("/ui/descriptions/team/told", fields).status == 303
    page = ann.get("/ui/repositories/team/told").body
    assert b"<h3>Title</h3>" in page
    for bad in (b"<img", b"<script>", b'href="javascript'):
        assert bad not in page
    assert b"<img" not in ann.get("/ui/?q=told").body
    assert b"<img" not in ann.get("/ui/descriptions/team/told").body
    answer = ann.post("/ui/descriptions/team/told", {"short": "x" * 300, "full": "kept"})
    assert answer.status == 400
    assert b"The description is longer than 255 characters" in answer.body
    assert b"kept</textarea>" in answer.body


def test_visibility(server: Server, ann: Visitor) -> None:
    push(server, "team/seen", ["latest"])
    path, tags = "/ui/repositories/visibility/team/seen", "/v1/repositories/team/seen/tags"
    assert ann.post(path, {"private": "1"}).status == 303
    assert b"The repository is private now." in ann.get("/ui/repositories/team/seen").body
    assert (server.store / "repositories/team/seen/_private").exists()
    assert Visitor(server).get("/ui/repositories/team/seen").status == 404
    assert ann.post(path, {"private": "0"}).status == 303
    assert not (server.store / "repositories/team/seen/_private").exists()
    assert raw.get(server, tags, basic("ann", PASSWORD)).status == 200


def test_members(chromium: Chromium, server: Server) -> None:
    push(server, "team/shared", ["latest"])
    Visitor(server)
    with chromium.visit(server) as page:
        sign_in(page, "ann", PASSWORD)
        page.goto("/ui/repositories/team/shared")
        page.get_by_role("link", name="Members and roles").click()
        page.get_by_label("Account").fill("nobody-here")
        page.get_by_role("button", name="Give the role").click()
        page.get_by_text("There is no account nobody-here").wait_for()
        page.get_by_label("Account").fill("alice")
        page.get_by_label("May").select_option("push")
        page.get_by_role("button", name="Give the role").click()
        page.get_by_text("alice has the role push now.").wait_for()
        page.get_by_role("row", name="alice").get_by_text("this repository").wait_for()
        page.get_by_role("button", name="Remove alice").click()
        page.get_by_text("alice is removed.").wait_for()
        assert page.get_by_role("row", name="alice").count() == 0


def test_without_an_index(tmp_path: Path) -> None:
    """With access rules, `push` suffices for the visibility, as in the API."""
    rules = [
        {"who": "anybody", "repositories": "*", "allow": "pull"},
        {"who": "ann", "repositories": "team/*", "allow": ["pull", "push"]},
    ]
    env = environment(password_file(tmp_path, ["ann"]), rules)
    one = engine.image("one")
    store = tmp_path / "store"
    seed.image(store, one.json, one.layer, one.ancestry, [one.checksum])
    seed.tags(store / "repositories/team/app", {"latest": one.id, "gone": "f" * 64})
    with Server(store, env=env) as server:
        visitor = Visitor(server)
        visitor.sign_in("ann", "open sesame")
        page = visitor.get("/ui/repositories/team/app").body
        asked = visitor.post("/ui/repositories/delete-tags/team/app", {"tag": "latest"})
        assert asked.status == 403
        assert b"missing</span>" in page  # the image of the tag `gone`
        assert b"Make it private" in page
        assert b"Delete the repository" not in page
        assert b"Comments" not in page
        assert visitor.get("/ui/repositories/team/none").status == 404
        path = "/ui/repositories/visibility/team/app"
        assert visitor.post(path, {"private": "1"}).status == 303
        assert Visitor(server).get("/ui/repositories/team/app").status == 404
        assert visitor.post("/ui/repositories/delete/team/app").status == 403
    with Server(store, env={**env, "READ_ONLY": "true", "WEB_SECRET": "0" * 16}) as server:
        visitor = Visitor(server)
        visitor.sign_in("ann", "open sesame")
        answer = visitor.post(path, {"private": "0"})
        assert (answer.status, b"read-only" in answer.body) == (503, True)


def test_a_confirmation_of_a_large_store_says_what_it_has_not_looked_at(tmp_path: Path) -> None:
    one, other = engine.image("one"), engine.image("other")
    store = tmp_path / "store"
    for image in (one, other):
        seed.image(store, image.json, image.layer, image.ancestry, [image.checksum])
    tags = {f"t{number:03}": other.id for number in range(502)}
    seed.tags(store / "repositories/team/app", {**tags, "a": one.id, "b": one.id})
    with Server(store) as server:  # open to everybody
        visitor = Visitor(server)
        visitor.get("/ui/repositories/team/app")
        path = "/ui/repositories/delete-tags/team/app"
        asked = visitor.post(path, {"tag": "a"}).body
        assert b"nothing else that was looked at" in asked
        assert visitor.post(path, {"tag": ["a", "none"], "confirmed": "1"}).status == 303
        page = visitor.get("/ui/repositories/team/app").body
        assert b"1 tag is deleted. 1 had been deleted before." in page


def test_immutable_tags_stay(tmp_path: Path) -> None:
    one = engine.image("one")
    store = tmp_path / "store"
    seed.image(store, one.json, one.layer, one.ancestry, [one.checksum])
    seed.tags(store / "repositories/team/app", {"1.0": one.id, "latest": one.id})
    rules = '[{"repository": "team/*", "tags": "1.*"}]'
    with Server(store, env={"IMMUTABLE_TAGS": rules}) as server:
        visitor = Visitor(server)
        visitor.get("/ui/repositories/team/app")
        path = "/ui/repositories/delete-tags/team/app"
        for fields in ({}, {"confirmed": "1"}):
            answer = visitor.post(path, {"tag": ["1.0", "latest"], **fields})
            assert (answer.status, b"immutable" in answer.body) == (409, True)
            assert b"Nothing was changed." in answer.body
        answer = visitor.post("/ui/repositories/delete/team/app", {"confirmed": "1"})
        assert (answer.status, b"immutable" in answer.body) == (409, True)
        tags = raw.get(server, "/v1/repositories/team/app/tags").json()
        assert tags == {"1.0": one.id, "latest": one.id}
