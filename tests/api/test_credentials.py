"""Authorization headers as engines send them (protocol-v1.md sections 2.1, 2.2)."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v1registry.api.credentials import LARGEST, NOTHING, parse


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


TOKEN = 'signature=ABC,repository="ns/repo",access=read'
PAIRS = {"signature": "ABC", "repository": "ns/repo", "access": "read"}


@pytest.mark.parametrize(
    ("header", "user", "password"),
    [
        (None, None, None),
        ("", None, None),
        ("Basic Og==", None, None),  # what engines up to 1.5 send without a login
        (basic("me:pass:word"), "me", "pass:word"),
        (basic("me:").replace("Basic", "bAsIc"), "me", ""),
        (basic(":pass"), "", "pass"),
        (basic("me"), "me", ""),
        (basic("m\u00fcller:p\u00e4ss"), "m\u00fcller", "p\u00e4ss"),
        ("Basic ???", None, None),
        ("Basic /w==", None, None),  # not UTF-8
        ("Basic", None, None),
        ("Bearer x", None, None),
        ("Token", None, None),
        (basic("me:" + "x" * LARGEST), None, None),
    ],
)
def test_basic(header: str | None, user: str | None, password: str | None) -> None:
    shown = parse(header)
    assert (shown.user, shown.password) == (user, password)
    assert shown.pairs == ()
    assert (shown.header is None) == (user is None)


@pytest.mark.parametrize(
    ("header", "pairs"),
    [
        (f"Token {TOKEN}", PAIRS),
        (f"Token Token {TOKEN}", PAIRS),
        (f"token   TOKEN {TOKEN}", PAIRS),
        (f"tOkEn {TOKEN}", PAIRS),
        ("Token signature = ABC , repository = ns/repo , access=read", PAIRS),
        ("Token signature=ABC,repository=ns/repo,access=read,", PAIRS),
        # only a leading word is removed
        ('Token signature=A,note="a token b"', {"signature": "A", "note": "a token b"}),
        ('Token Signature="ABC",Repository=ns/repo,ACCESS="read"', PAIRS),
        ('Token signature="A=/+,B==",repository="ns/repo",access=read',
         {**PAIRS, "signature": "A=/+,B=="}),
        ("Token signature=A==,repository=ns/repo,access=read", {**PAIRS, "signature": "A=="}),
        ("Token signature=A", {"signature": "A"}),
        # as a whole or not at all
        ("Token garbage", {}),
        ("Token =x", {}),
        (f"Token {TOKEN},garbage", {}),
        (f"Token garbage,{TOKEN}", {}),
        (f'Token {TOKEN},note="open', {}),
        (f'Token {TOKEN}"', {}),
        (f"Token {TOKEN},access=write", {}),  # twice: which would the next reader take?
        (f'Token {TOKEN},Repository="other/repo"', {}),
        (f"Token {TOKEN},x={'y' * LARGEST}", {}),
    ],
)  # fmt: skip
def test_token(header: str, pairs: dict[str, str]) -> None:
    shown = parse(header)
    assert dict(shown.pairs) == pairs
    assert shown.user is None


WORDS = st.text(string.ascii_letters + string.digits + "/._-+", min_size=1, max_size=20)
NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=10)
BLANKS = st.text(" ", max_size=2)


@given(st.dictionaries(NAMES, WORDS, min_size=1, max_size=6), st.data())
def test_every_legal_form_of_a_token(pairs: dict[str, str], data: st.DataObject):
    texts = []
    for name, value in pairs.items():
        name = "".join(data.draw(st.sampled_from((c, c.upper()))) for c in name)
        value = f'"{value}"' if data.draw(st.booleans()) else value
        texts.append(f"{data.draw(BLANKS)}{name}{data.draw(BLANKS)}={data.draw(BLANKS)}{value}")
    words = data.draw(st.sampled_from(("Token ", "token ", "Token Token ", "TOKEN  token ")))
    shown = parse(words + ",".join(texts))
    assert dict(shown.pairs) == pairs


@given(st.text(max_size=60))
def test_never_fails(text: str) -> None:
    for header in (text, f"Basic {text}", f"Token {text}", f"Token Token {text}"):
        parse(header)


@given(st.text(string.ascii_letters, min_size=12), st.text(string.ascii_letters, min_size=12))
def test_a_log_shows_no_secret(password: str, signature: str) -> None:
    shown = parse(basic(f"me:{password}"))
    assert password not in repr(shown)
    assert shown.header not in repr(shown)
    shown = parse(f"Token signature={signature},repository=a/b,access=read")
    assert signature not in repr(shown)


def test_nothing() -> None:
    assert parse("Digest x") == NOTHING
