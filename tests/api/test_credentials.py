"""Authorization headers as engines send them (protocol-v1.md sections 2.1, 2.2)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v1registry.api.credentials import NOBODY, Credentials, parse


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


TOKEN = 'signature=ABC,repository="ns/repo",access=read'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, NOBODY),
        ("", NOBODY),
        ("Basic Og==", NOBODY),
        (basic("me:pass:word"), Credentials(user="me", password="pass:word")),
        (basic("me:").replace("Basic", "bAsIc"), Credentials(user="me", password="")),
        ("Basic ???", NOBODY),
        ("Basic", NOBODY),
        (f"Token {TOKEN}", Credentials(repository="ns/repo", access="read")),
        (f"Token Token {TOKEN}", Credentials(repository="ns/repo", access="read")),
        (f"token   TOKEN {TOKEN}", Credentials(repository="ns/repo", access="read")),
        ("Token signature = A , repository = ns/repo , access=write",
         Credentials(repository="ns/repo", access="write")),
        ("Token signature=A", NOBODY),
        ("Token garbage", NOBODY),
        ("Bearer x", NOBODY),
    ],
)  # fmt: skip
def test_parse(header: str | None, expected: Credentials) -> None:
    assert parse(header) == expected


@given(st.text(max_size=60))
def test_never_fails(text: str) -> None:
    for header in (text, f"Basic {text}", f"Token {text}", f"Token Token {text}"):
        parse(header)
