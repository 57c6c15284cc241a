"""The pages: every link and citation resolves, and docs/README.md lists every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)

PROTOCOL = ROOT / "docs" / "protocol-v1.md"
_FOLDERS = ("v1registry", "tests", "docs", "bench", "scripts")
_SUFFIXES = {".conf", ".md", ".py", ".service", ".sh", ".toml", ".txt", ".yaml", ".yml"}

_WRAPPED = re.compile(r"\s*\n[ \t]*(?:#:?|//)?[ \t]*")
_DOCUMENT = re.compile(r"(?<![\w./:-])((?:[\w.-]+/)*[\w.-]*\w\.md)\b(?:#([\w-]+))?")
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_SECTIONS = re.compile(
    rf"(?:(?<!RFC [0-9]{{4}} )\bsections? |protocol-v1\.md )({_NUMBER}(?:(?:, | and | to ){_NUMBER})*)"
    r"(?:,? item ([0-9]+))?"
)
_BARE_RULE = re.compile(r"\brules? [0-9]+")


def links(page: Path) -> list[str]:
    """Return the files and headings of the repository to which `page` links."""
    found = _LINK.findall(_CODE.sub("", page.read_text()))
    return [link for link in found if "://" not in link and not link.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts generate them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    words = (re.sub(r"[^\w\- ]", "", title).lower() for title in _HEADING.findall(text))
    return {word.strip().replace(" ", "-") for word in words}


def texts() -> list[Path]:
    """Return every file of ours that may cite a document. Fixtures contain foreign texts."""
    found = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*")]
    found += ROOT.iterdir()
    fixtures = ROOT / "tests" / "fixtures"
    return sorted(
        path
        for path in found
        if (path.suffix in _SUFFIXES or path.name in ("Dockerfile", "Makefile"))
        and path.is_file()
        and not path.is_relative_to(ROOT / "tests" / "clients")
        and (path.name == "README.md" or not path.is_relative_to(fixtures))
    )


def sections() -> dict[str, str]:
    """Return the sections of protocol-v1.md: number -> text."""
    parts = re.split(r"^##+ ([0-9]+(?:\.[0-9]+)?)\.? .*$", PROTOCOL.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def unresolved(text: str, folder: Path) -> list[str]:
    """Return the citations in `text`, a file's in `folder`, that lead to nothing."""
    text = _WRAPPED.sub(" ", text)
    found = []
    for match in _DOCUMENT.finditer(text):
        name, anchor = match.groups()
        places = [place / name for place in (folder, ROOT, ROOT / "docs")]
        page = next((place.resolve() for place in places if place.is_file()), None)
        if page is None or (anchor and anchor not in anchors(page)):
            found.append(match[0])
    known = sections()
    for match in _SECTIONS.finditer(text):
        cited = [known.get(number) for number in re.findall(_NUMBER, match[1])]
        item = rf"(?m)^{match[2]}\. " if match[2] else ""
        if any(section is None or not re.search(item, section) for section in cited):
            found.append(match[0])
    return found + _BARE_RULE.findall(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_citations_resolve() -> None:
    """A citation names a page, an anchor of a page, or sections of protocol-v1.md."""
    found = {
        f"{path.relative_to(ROOT)}: {citation}"
        for path in texts()
        for citation in unresolved(path.read_text(), path.parent)
    }
    assert found == set()


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("(protocol-v1.md sections 2.1, 3 and 7.4)", ""),
        ("# see protocol-v1.md 3\n    #: and 7", ""),
        ("protocol-v1.md\n# section 8, item 24", ""),
        ("RFC 9110 section 77", ""),
        ("docs/architecture.md#rule-4-writes-are-atomic.", ""),
        ("https://example.org/docs/missing_{}.md", ""),
        ("protocol-v1.md sections 2 and {}.9", "sections 2 and {}.9"),
        ("protocol-v1.md 7.{}", "protocol-v1.md 7.{}"),
        ("section 8 item 2{}", "section 8 item 2{}"),
        ("docs/missing_{}.md", "docs/missing_{}.md"),
        ("differences.md#{}-missing", "differences.md#{}-missing"),
        ("design rule {}", "rule {}"),
    ],
)
def test_broken_citations_are_found(text: str, bad: str) -> None:
    # `{}` hides the broken citations from test_citations_resolve
    assert unresolved(text.format(5), ROOT) == ([bad.format(5)] if bad else [])


def test_tests_that_the_pages_name_exist() -> None:
    """The pages cite tests by function, and helpers by path."""
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for page in PAGES:
        text = page.read_text()
        for name in re.findall(r"`(test_\w+)`", text):
            assert f"def {name}(" in written, f"{page.name} names {name}"
        for path in re.findall(r"\btests/[\w/.-]+\.py\b", text):
            assert (ROOT / path).is_file(), f"{page.name} names {path}"


def test_functions_that_the_page_about_the_code_names_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    code = "\n".join(path.read_text() for path in (ROOT / "v1registry").rglob("*.py"))
    named = set(re.findall(r"`(\w+)\([^`]*\)`", text))
    assert "prepare_store" in named
    assert {name for name in named if not re.search(rf"(?:def|class) {name}\(", code)} == set()


def test_private_apis_were_checked_against_the_pinned_versions() -> None:
    """A new pin of gunicorn, say, needs a look at what we use of its private parts."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("| Private API | Used in |")[2].partition("\n\n")[0]
    rows = [row.strip("|").split(" | ") for row in table.splitlines()[2:]]
    assert len(rows) > 5
    pins = "\n".join(path.read_text() for path in ROOT.glob("requirements*.txt"))
    for _api, modules, checked in rows:
        library, version = checked.split()
        pinned = set(re.findall(rf"(?m)^{library}==([0-9.]+)", pins))
        assert pinned == {version}, f"{library} {pinned}: docs/architecture.md names {version}"
        for module in re.findall(r"`([\w/]+\.py)`", modules):
            assert (ROOT / "v1registry" / module).is_file(), module


def test_every_page_is_listed() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {page for page in PAGES if page.parent == index.parent and page != index} <= listed


def test_the_readme_is_read_in_one_sitting() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    for make in re.findall(r"`make ([a-z-]+)`", text):
        assert f"\n{make}:" in (ROOT / "Makefile").read_text()


def test_the_changelog_is_short_and_in_order() -> None:
    """Entries of one sentence, at most 30 words each, grouped as by Keep a Changelog."""
    text = (ROOT / "CHANGELOG.md").read_text()
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert titles[0] == "Unreleased" or re.match(r"\[[0-9]", titles[0])
    groups = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert groups <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    entries = re.findall(r"^- (.*)$", text, re.MULTILINE)
    assert len(entries) > 50
    for entry in entries:
        assert entry.endswith("."), entry
        assert len(entry.split()) <= 30, entry


def test_no_page_installs_from_a_package_index() -> None:
    """`v1registry` on a package index might be foreign, so the pages name only our files."""
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
