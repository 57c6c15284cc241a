"""The list of repositories, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.index.conftest import PASSWORD
from tests.live_server import Server
from tests.web.browser import WIDTHS, Chromium, accessible, screenshot, sign_in, status
from tests.web.conftest import HOSTILE, Site


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_pages_are_accessible(chromium: Chromium, site: Site, width: int, is_dark: bool):
    name = f"{width}-{'dark' if is_dark else 'light'}"
    with chromium.visit(site.server, width=width, is_dark=is_dark) as page:
        for path in ("/ui/", "/ui/?namespace=team", "/ui/?q=none", "/ui/sign-in", "/ui/none"):
            page.goto(path)
            accessible(page)
            words = path.removeprefix("/ui/").replace("?", "").replace("=", "-") or "repositories"
            screenshot(page, f"{words}-{name}", whole=False)
        sign_in(page, "reader", PASSWORD)
        accessible(page)
        screenshot(page, f"signed-in-{name}", whole=False)


@pytest.mark.parametrize("has_scripts", [True, False])
def test_signing_in_and_out(chromium: Chromium, site: Site, has_scripts: bool):
    with chromium.visit(site.server, has_scripts=has_scripts) as page:
        page.get_by_role("link", name="Sign in").click()
        page.get_by_label("User name").fill("reader")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        assert page.get_by_role("alert").inner_text() == "Wrong user name or password."
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_text("You are signed out.").wait_for()
        page.get_by_role("link", name="Sign in").wait_for()


@pytest.mark.parametrize("has_scripts", [True, False])
def test_searching_and_paging(chromium: Chromium, site: Site, has_scripts: bool):
    with chromium.visit(site.server, has_scripts=has_scripts) as page:
        page.get_by_text("61 repositories").wait_for()
        rows = page.locator("tbody tr")
        assert rows.count() == 50
        page.get_by_role("link", name="Next").click()
        page.get_by_text("Page 2").wait_for()
        assert rows.count() == 11
        page.get_by_role("searchbox").fill("image-1")
        if not has_scripts:
            page.get_by_role("button", name="Search").click()
        page.get_by_text("10 repositories").wait_for()
        assert page.url.endswith("/ui/?q=image-1")
        page.get_by_role("link", name="library").first.click()
        page.get_by_text("in the namespace").wait_for()
        page.get_by_role("searchbox").fill("no such")
        if not has_scripts:
            page.get_by_role("button", name="Search").click()
        page.get_by_text("No repository matches.").wait_for()


def test_sorting(chromium: Chromium, site: Site):
    with chromium.visit(site.server) as page:
        for order in ("Pulls", "Stars", "Last push"):
            page.get_by_role("link", name=order).click()
            page.locator("th[aria-sort=descending]", has_text=order).wait_for()
        page.get_by_role("link", name="Name").click()
        page.locator("th[aria-sort=ascending]", has_text="Name").wait_for()


def test_by_keyboard_alone(chromium: Chromium, site: Site):
    with chromium.visit(site.server) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type("team")
        page.get_by_text("1 repository").wait_for()


def test_hostile_text_stays_text(chromium: Chromium, site: Site):
    with chromium.visit(site.server) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        page.get_by_role("searchbox").fill(HOSTILE)
        page.get_by_text("No repository matches.").wait_for()
        page.reload()
        assert page.get_by_role("searchbox").input_value() == HOSTILE
        assert page.locator("img").count() == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_an_empty_store(chromium: Chromium, tmp_path: Path, width: int):
    with Server(tmp_path / "store") as server, chromium.visit(server, width=width) as page:
        page.get_by_role("heading", name="Push the first image").wait_for()
        accessible(page)
        screenshot(page, f"empty-{width}")
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy the commands to push").click()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.splitlines()[-1] == f"docker push {server.host}/team/busybox"
        assert status(page.goto("/ui/none")) == 404
