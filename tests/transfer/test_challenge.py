"""Challenges of registries: well-formed ones in every form, and texts that are none."""

from __future__ import annotations

import contextlib
import json
import re

import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from v1registry.transfer.challenge import Challenge, Keyring, parse
from v1registry.transfer.credentials import RegistryLogin
from v1registry.transfer.errors import Rejected

REGISTRY = "https://r.example"
ANN = RegistryLogin("ann", "pw")

# -- every form that RFC 9110 allows ---------------------------------------------------------------

TOKEN = st.text(st.sampled_from("!#$%&'*+-.^_`|~09azAZ"), min_size=1, max_size=8)
SCHEME = st.sampled_from(["Basic", "BEARER", "bearer", "Negotiate", "Digest", "NTLM"]) | TOKEN
NAME = st.sampled_from(["realm", "service", "scope", "Error", "charset"]) | TOKEN
TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"]), max_size=12
)
VALUE = TEXT | st.sampled_from(['Basic realm="x"', ", Bearer ", 'a="b"', "\\", '"', "\t", "=", ""])
BLANK = st.sampled_from(["", " ", "\t", "  "])
COMMA = st.sampled_from([",", ", ", " ,", " , ", ",,", ", , "])


@st.composite
def parameter(draw: st.DrawFn) -> tuple[str, str, str]:
    """Return the name and value of a parameter, and its form in a header."""
    name, before, after = draw(NAME), draw(BLANK), draw(BLANK)
    if draw(st.booleans()):
        value = draw(TOKEN)
        return name, value, f"{name}{before}={after}{value}"
    value = draw(VALUE)
    quoted = "".join(
        f"\\{character}" if character in '"\\' or draw(st.integers(0, 9)) == 0 else character
        for character in value
    )
    return name, value, f'{name}{before}={after}"{quoted}"'


@st.composite
def challenge(draw: st.DrawFn) -> tuple[Challenge, str]:
    """Return a challenge, and its form in a header."""
    scheme, kind = draw(SCHEME), draw(st.sampled_from(["parameters", "token68", "nothing"]))
    if kind == "token68":
        data = draw(st.text(st.sampled_from("azAZ09-._~+/"), min_size=1, max_size=8))
        return Challenge(
            scheme.lower(), {}
        ), f"{scheme} {data}{draw(st.sampled_from(['', '=', '==']))}"
    expected: dict[str, str] = {}
    form = scheme
    count = draw(st.integers(1, 4)) if kind == "parameters" else 0
    for number in range(count):
        name, value, text = draw(parameter())
        expected.setdefault(name.lower(), value)
        form += (draw(COMMA) if number else " ") + text
    return Challenge(scheme.lower(), expected), form


@st.composite
def header_lines(draw: st.DrawFn) -> tuple[list[Challenge], list[str]]:
    """Return challenges, and the lines of the header that holds them, with empty list elements."""
    challenges, lines = [], [draw(st.sampled_from(["", ",", " , "]))]
    for one, form in draw(st.lists(challenge(), min_size=1, max_size=5)):
        if challenges:
            if draw(st.booleans()):
                lines.append("")
            else:
                lines[-1] += draw(COMMA)
        challenges.append(one)
        lines[-1] += form
    lines[-1] += draw(st.sampled_from(["", ",", " ", ", ,"]))
    return challenges, lines


@settings(max_examples=300, deadline=None)
@given(header_lines())
def test_every_form_of_challenges_is_read(made: tuple[list[Challenge], list[str]]) -> None:
    challenges, lines = made
    assert parse(", ".join(lines)) == challenges  # as requests joins the lines


# -- what a registry should not send --------------------------------------------------------------

GARBAGE = st.lists(
    st.sampled_from(
        ["Basic", "Bearer", "Negotiate", " ", "\t", ",", "=", '"', "\\", "realm", "service", "scope",
         'realm="https://r.example/token"', 'realm="http://o.example"', "realm=x", "realm=", "\x85", "é",
         "https://", "http://[", "abc==", "\x00", "(", "@", ";", '"\\']
    ),
    max_size=12,
).map("".join) | st.text(max_size=30) | st.just('Bearer realm="https://r.example/token"')  # fmt: skip
ODD = st.sampled_from(
    [10**400, 1e400, -1, 0, True, "1", "x", "nan", None, [], {}, "\ud800", "a b", "é", "t"]
)
DOCUMENT = st.dictionaries(st.sampled_from(["token", "access_token", "expires_in"]), ODD) | ODD
BODY = DOCUMENT.map(lambda document: json.dumps(document).encode()) | st.binary(max_size=20)


@settings(max_examples=300, deadline=None)
@given(
    header=GARBAGE,
    body=BODY,
    status=st.sampled_from([200, 200, 200, 204, 401, 404]),
    login=st.sampled_from([ANN, RegistryLogin("", "", "refresh-me"), None]),
    again=st.booleans(),
)
@example('Bearer realm="https://r.example/token"', b'{"token": "a b"}', 200, ANN, False)
@example(
    'Bearer realm="https://r.example"',
    b'{"token": "t", "expires_in": 1' + b"0" * 400 + b"}",
    200,
    ANN,
    False,
)
def test_garbage_gives_a_header_that_can_be_sent_or_a_refusal(
    header: str, body: bytes, status: int, login: RegistryLogin | None, again: bool
) -> None:
    urls: list[str] = []

    def fetch(method: str, url: str, **_: object) -> requests.Response:
        urls.append(url)
        response = requests.Response()
        response.status_code, response._content = status, body
        return response

    with contextlib.suppress(Rejected):
        answer = Keyring(login, REGISTRY).answer(header, ("s",), None, fetch, again=again)
        assert re.fullmatch("(Basic|Bearer) [!-~]+", answer)
    assert all(url.startswith("https://") for url in urls)
