"""The pages: every link leads somewhere, and every page is found from docs/README.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def links(page: Path) -> list[str]:
    """Where `page` points to within the repository."""
    found = _LINK.findall(_CODE.sub("", page.read_text()))
    return [link for link in found if "://" not in link and not link.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """What a link to a heading may be called, as code hosts make it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    words = (re.sub(r"[^\w\- ]", "", title).lower() for title in _HEADING.findall(text))
    return {word.strip().replace(" ", "-") for word in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_listed() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {page for page in PAGES if page.parent == index.parent and page != index} <= listed


def test_the_readme_is_read_in_one_sitting() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    for make in re.findall(r"`make ([a-z-]+)`", text):
        assert f"\n{make}:" in (ROOT / "Makefile").read_text()


def test_nobody_is_told_to_install_a_name_that_is_not_ours() -> None:
    """Anybody could register `v1registry` on a package index: only files of ours are named."""
    texts = [*(ROOT / "v1registry").rglob("*.py"), *(ROOT / "scripts").iterdir(), *PAGES]
    texts += [*ROOT.glob("requirements*.txt"), ROOT / "config.yml", ROOT / "Makefile"]
    name = re.compile(r"""v1registry\[|pip3? install (?:[^\n`]*\s)?['"]?v1registry(?![\w*/-])""")
    found = [path.name for path in texts if path.is_file() and name.search(path.read_text())]
    assert found == []


def test_examples_use_namespaces_that_all_engines_accept() -> None:
    """Engines up to 1.5 accept 4 to 30 characters of a-z, 0-9 and _."""
    made = re.compile(r"(?:user add|namespace add|htpasswd -B(?: -c)? \S+) ([a-z]\S*)([^\n]*)")
    found = [
        name
        for page in PAGES
        for name, rest in made.findall(page.read_text())
        if "--robot" not in rest and not re.fullmatch(r"[a-z0-9_]{4,30}`?", name)
    ]
    assert found == []
