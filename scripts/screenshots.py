"""Write the screenshots of docs/web.md and README.md into docs/images.

    make screenshots    # needs Debian's chromium

They show a registry with pushes of our own (tests/web/demo.py) in a real browser.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.index.conftest import PASSWORD
from tests.live_server import Server
from tests.web.browser import Chromium, sign_in
from tests.web.demo import demo

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "images"
LARGEST = 200_000  # bytes


def repositories(page: Page) -> None:
    page.goto("/ui/?order=stars")


def chinese(page: Page) -> None:
    page.goto("/ui/repositories/team/billing?language=zh")
    page.locator("#tags:not([data-again])").wait_for()


def repository(page: Page) -> None:
    page.goto("/ui/repositories/team/billing")
    page.locator("#tags:not([data-again])").wait_for()


def image(page: Page) -> None:
    repository(page)
    page.get_by_role("link", name="1.10.0", exact=True).click()
    page.get_by_role("heading", name="Shared layers").wait_for()
    page.get_by_role("heading", name="History").scroll_into_view_if_needed()
    page.evaluate("window.scrollBy(0, 700)")


def account(page: Page) -> None:
    page.goto("/ui/accounts/ann")


#: name -> what to show, width, height, dark
SHOTS: dict[str, tuple[Callable[[Page], None], int, int, bool]] = {
    "repositories": (repositories, 1200, 700, False),
    "repository": (repository, 1200, 1000, False),
    "image": (image, 1200, 900, True),
    "account": (account, 1200, 900, False),
    "phone": (repository, 390, 760, True),
    "chinese": (chinese, 1200, 640, False),
}


def write(chromium: Chromium, server: Server) -> None:
    for name, (show, width, height, is_dark) in SHOTS.items():
        with chromium.visit(server, width=width, is_dark=is_dark, path=None) as page:
            page.set_viewport_size({"width": width, "height": height})
            sign_in(page, "ann", PASSWORD)
            show(page)
            file = FOLDER / f"web-{name}.png"
            page.screenshot(path=file)
            size = file.stat().st_size
            assert size <= LARGEST, f"{file}: {size} bytes"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, demo(Path(folder)) as running:
        with sync_playwright() as playwright:
            write(Chromium(playwright), running)
