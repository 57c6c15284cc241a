"""The catalogues are complete, compiled and current; the formats of numbers and times."""

from __future__ import annotations

import gettext
import importlib.util
import re
import time
from pathlib import Path
from types import ModuleType

import pytest
from flask import Flask

from v1registry.web import formats, texts

ROOT = Path(__file__).parent.parent.parent


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("translations", ROOT / "scripts/translations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_text_is_translated_and_compiled():
    module = script()
    assert {file.parts[-3] for file in module.FILES} == set(texts.LANGUAGES) - {"en"}
    for file in module.FILES:
        catalogue = module.updated(file)
        pages = {str(message.id) for message in module.texts(with_errors=False)}
        # an error of the API without a translation is shown in English
        missing = [text for text in module.missing(catalogue) if text in pages]
        assert missing == [], "translate them in messages.po, and run make translations"
        with file.with_suffix(".mo").open("rb") as opened:
            compiled = gettext.GNUTranslations(opened)
        for message in catalogue:
            if message.pluralizable:
                assert compiled.ngettext(*message.id, 1) == message.string[0]
            elif message.id and message.string:
                assert compiled.gettext(message.id) == message.string, "run make translations"
            errors = [str(error) for error in message.check()]
            assert errors == []


def test_templates_translate_variable_texts_with_the_filter_that_escapes():
    for file in sorted((ROOT / "v1registry/web/templates").rglob("*.html")):
        found = re.findall(r"""\b(?:_|n?gettext)\((?!["'])[^)]*""", file.read_text())
        assert found == [], f"{file.name}: write text|translated"


def test_every_page_can_be_shown_in_chinese():
    with Flask("test").test_request_context(headers={"Accept-Language": "fr, zh-Hans;q=0.5"}):
        assert texts.gettext("Sign in") == "登录"
        assert texts.ngettext("%(number)s day ago", "%(number)s days ago", 3) == "%(number)s 天前"
        assert texts.gettext("") == ""


@pytest.mark.parametrize(
    ("passed", "shown"),
    [
        (-5, "just now"),
        (59, "just now"),
        (61, "1 minute ago"),
        (7200, "2 hours ago"),
        (3 * 86400, "3 days ago"),
        (75 * 86400, "2 months ago"),
        (800 * 86400, "2 years ago"),
    ],
)
def test_times(passed: int, shown: str):
    with Flask("test").test_request_context():
        found = formats.when(time.time() - passed)
        assert found.endswith(f'UTC">{shown}</time>')
    assert formats.when(None) == ""


def test_numbers():
    assert formats.size(12_400_000) == "12.4\N{NO-BREAK SPACE}MB"
    assert formats.count(1234567) == "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"
    assert (formats.size(None), formats.count(None)) == ("", "")
    assert formats.short_id(f"sha256:{'ab' * 32}") == "abababababab"
