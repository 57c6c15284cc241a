"""Collect the texts of the pages into the catalogues of `v1registry/web/translations`, and compile them.

    make translations    # after a text was changed: updates messages.po, and lists what is not translated

Translate in messages.po, and run it again. Both messages.po and messages.mo are committed, so that an
installation needs no compiler. Needs Babel (requirements-dev.txt).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "v1registry" / "web"

FILES = sorted(WEB.glob("translations/*/LC_MESSAGES/messages.po"))

_METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
_OPTIONS = {"templates/**.html": {"newstyle_gettext": "true", "trimmed": "true"}}
_KEYWORDS = {"_": None, "_n": None, "mark": None, "gettext": None, "ngettext": (1, 2)}
_DATE = datetime(
    2026, 11, 30, tzinfo=UTC
)  # in the compiled file, which is the same for the same texts


def texts(*, with_errors: bool = True) -> Catalog:
    """Return all texts of the pages, and the texts of errors, which an error page shows."""
    found = Catalog(project="v1registry", charset="utf-8")
    for name, _, message, comments, _ in extract_from_dir(WEB, _METHODS, _OPTIONS, _KEYWORDS):
        found.add(message, locations=[(name, 0)], auto_comments=comments)
    for module, text in _errors() if with_errors else ():
        found.add(text, locations=[(module, 0)])
    return found


def _errors() -> Iterator[tuple[str, str]]:
    """Yield the errors: constants that are a status and a text."""
    from importlib import import_module

    own = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in WEB.rglob("[!_]*.py")]
    for module in ["v1registry.lib.errors", *sorted(own)]:
        for value in vars(import_module(module)).values():
            match value:
                case (int(), str(text)):
                    yield module, text


def updated(file: Path) -> Catalog:
    """Return the catalogue in `file` with the texts of now. Texts that are gone are dropped."""
    with file.open("rb") as opened:
        found = read_po(opened, locale=file.parts[-3])
    found.update(texts(), no_fuzzy_matching=True)
    found.creation_date = found.revision_date = _DATE
    found.obsolete.clear()
    return found


def missing(catalogue: Catalog) -> list[str]:
    """Return the texts that are not translated."""
    return [
        str(message.id)
        for message in catalogue
        if message.id and not (all(message.string) if message.pluralizable else message.string)
    ]


def save(catalogue: Catalog, file: Path) -> None:
    with file.open("wb") as opened:
        write_po(opened, catalogue, width=100, omit_header=True, sort_output=True, no_location=True)
    with file.with_suffix(".mo").open("wb") as opened:
        write_mo(opened, catalogue)


if __name__ == "__main__":
    for file in FILES:
        catalogue = updated(file)
        save(catalogue, file)
        for text in missing(catalogue):
            sys.stdout.write(f"{file.parts[-3]}: not translated: {text}\n")
