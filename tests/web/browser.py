"""A real headless Chromium: one process for all tests, a fresh profile for each visit.

    with chromium.visit(server, width=390, is_dark=True) as page: ...

`chromium.sign_in(page, ...)`, `accessible(page)` and `screenshot(page, "name")` are the other parts.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright, Response

from tests.live_server import Server
from tests.needs import tool

WIDTHS = (390, 1440)
_HEIGHTS = {390: 844, 1440: 900}

#: A folder for `screenshot`; without it, none is saved.
FOLDER = "WEB_SCREENSHOTS"

_TIMEOUT = 20_000  # milliseconds
_GRAVE = ("serious", "critical")


class Chromium:
    """The running browser."""

    def __init__(self, playwright: Playwright) -> None:
        self._browser: Browser = playwright.chromium.launch(
            executable_path=tool("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )

    def close(self) -> None:
        self._browser.close()

    @contextlib.contextmanager
    def visit(
        self,
        server: Server,
        *,
        width: int = 1440,
        is_dark: bool = False,
        has_scripts: bool = True,
        language: str = "en-US",
        path: str | None = "/ui/",
    ) -> Iterator[Page]:
        """Yield a tab at `path` in a new profile. An error of a script or of the policy fails the test."""
        context = self._browser.new_context(
            base_url=server.url,
            viewport={"width": width, "height": _HEIGHTS.get(width, 900)},
            color_scheme="dark" if is_dark else "light",
            java_script_enabled=has_scripts,
            locale=language,
            ignore_https_errors=True,
        )
        context.set_default_timeout(_TIMEOUT)
        problems: list[str] = []
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console", lambda m: problems.append(m.text) if "Security Policy" in m.text else None
        )
        try:
            if path is not None:
                page.goto(path)
            yield page
        finally:
            context.close()
        assert problems == []


def sign_in(page: Page, name: str, password: str) -> None:
    """Sign in by the form, and wait for the next page."""
    page.goto("/ui/sign-in")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/ui/")


def accessible(page: Page) -> None:
    """Fail if axe-core finds a serious or critical problem on the page, or if it is wider than the screen."""
    package = importlib.util.find_spec("axe_playwright_python")
    assert package is not None
    assert package.origin is not None
    page.evaluate((Path(package.origin).parent / "axe.min.js").read_text())
    found = page.evaluate("axe.run()")["violations"]
    grave = [
        f"{one['id']} ({one['impact']}): {one['help']}: {[n['html'] for n in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in _GRAVE
    ]
    assert not grave, f"{page.url}: {grave}"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), page.url


def screenshot(page: Page, name: str, *, whole: bool = True) -> None:
    """Save a PNG into the folder that WEB_SCREENSHOTS names."""
    if folder := os.environ.get(FOLDER):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)


def status(response: Response | None) -> int:
    """Return the status of a navigation."""
    assert response is not None
    return response.status
