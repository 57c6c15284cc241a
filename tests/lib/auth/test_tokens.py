"""Tokens of an index: issued tokens are accepted, all other texts are refused."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from v1registry.api import credentials
from v1registry.lib.auth import tokens
from v1registry.lib.auth.tokens import Issuer, Token, TokenError, Verifier

NOW = 1_700_000_000
KEY = bytes(range(32))
TOKEN = Token("team/app", "write", NOW + 60, "alice")


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer(KEY)


@pytest.fixture(scope="module")
def verifier(issuer: Issuer) -> Verifier:
    return Verifier({issuer.key_id: issuer.public})


def refused(verifier: Verifier, text: str, now: float = NOW) -> str:
    with pytest.raises(TokenError) as caught:
        verifier.verify(text, now)
    assert "team" not in str(caught.value)  # it may be logged
    return str(caught.value)


def test_the_form_that_engines_send(issuer: Issuer) -> None:
    text = issuer.issue(TOKEN)
    form = (
        r'signature=[A-Za-z0-9_-]{86},repository="team/app",access=write,exp=1700000060,'
        r'kid=[0-9a-f]{16},id=[A-Za-z0-9_-]{12},user="alice"'
    )
    assert re.fullmatch(form, text)
    # docker-registry 0.x may use this index: its own pattern must read the token
    found = dict(re.findall(r'(\w+)[:=][\s"]?([^",]+)"?', f"Token {text}"))
    assert (found["repository"], found["access"]) == ("team/app", "write")
    parsed = credentials.parse(f"Token {text}")
    assert (parsed.pair("repository"), parsed.pair("access")) == ("team/app", "write")


def test_no_two_tokens_are_the_same(issuer: Issuer, verifier: Verifier) -> None:
    """Two pushes in one second: the index's answer about one token must not be used for the other."""
    one, two = issuer.issue(TOKEN), issuer.issue(TOKEN)
    assert one != two
    assert verifier.verify(one, NOW) == verifier.verify(two, NOW) == TOKEN


@pytest.mark.parametrize("prefix", ["", "Token ", "token  ", "Token Token ", "  Token token "])
def test_leading_words(issuer: Issuer, verifier: Verifier, prefix: str) -> None:
    assert verifier.verify(prefix + issuer.issue(TOKEN), NOW) == TOKEN


@pytest.mark.parametrize("access", tokens.ACCESSES)
@pytest.mark.parametrize("user", [None, "bob", "robot+ci"])
def test_what_is_issued_is_what_is_read(
    issuer: Issuer, verifier: Verifier, access: str, user: str | None
) -> None:
    token = Token("library/a.b_c-d/e", access, NOW + 1, user)
    assert verifier.verify(issuer.issue(token), NOW) == token


def test_quotes_and_blanks_do_not_matter(issuer: Issuer, verifier: Verifier) -> None:
    bare = issuer.issue(TOKEN).replace('"', "")
    quoted = re.sub(r"=([^,\"]+)", r'="\1"', bare)
    spaced = re.sub(r"([=,])", r" \1 ", issuer.issue(TOKEN))
    for text in (bare, quoted, spaced):
        assert verifier.verify(text, NOW) == TOKEN


@pytest.mark.parametrize(
    "wrong",
    [
        Token("team/app", "admin", NOW),
        Token("team/app", "", NOW),
        Token('team/app",access="delete', "read", NOW),
        Token("team/a p", "read", NOW),
        Token("team/app", "read", NOW, ""),
        Token("team/app", "read", NOW, "a,b"),
        Token("team/app", "read", NOW, "a=b"),
        Token("team/app", "read", NOW, "ü"),
        Token("team/app", "read", NOW, "a\nb"),
    ],
)
def test_values_that_a_token_cannot_contain(issuer: Issuer, wrong: Token) -> None:
    with pytest.raises(ValueError, match="a token cannot contain these values"):
        issuer.issue(wrong)


def test_a_clock_that_is_ahead(issuer: Issuer) -> None:
    patient = Verifier({issuer.key_id: issuer.public}, skew=600)
    text = issuer.issue(TOKEN)
    assert patient.verify(text, NOW + 659.9) == TOKEN
    assert refused(patient, text, NOW + 660) == "the token has expired"


def test_expired(issuer: Issuer, verifier: Verifier) -> None:
    text = issuer.issue(TOKEN)
    assert verifier.verify(text, NOW + 59.9) == TOKEN
    assert refused(verifier, text, NOW + 60) == "the token has expired"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("team/app", "team/other"),
        ("access=write", "access=delete"),
        ("access=write", "access=read"),
        ("exp=1700000060", "exp=1800000060"),
        ('user="alice"', 'user="admin"'),
        (',user="alice"', ""),
        ("access=write,", ""),
        ('repository="team/app",', ""),
        ("exp=1700000060,", ""),
    ],
)
def test_every_pair_is_signed(issuer: Issuer, verifier: Verifier, old: str, new: str) -> None:
    text = issuer.issue(TOKEN)
    assert old in text
    assert refused(verifier, text.replace(old, new)) == "the signature is wrong"


def test_nothing_may_be_added(issuer: Issuer, verifier: Verifier) -> None:
    text = issuer.issue(TOKEN)
    assert refused(verifier, f"{text},more=1") == "the signature is wrong"
    anonymous = issuer.issue(Token("team/app", "read", NOW + 60))
    assert refused(verifier, f'{anonymous},user="alice"') == "the signature is wrong"


@pytest.mark.parametrize(
    "more",
    [
        ',repository="team/secret"',
        ",access=delete",
        ",exp=1900000000",
        ",",
        ",,",
        ",x",
        ",x=",
        ",x=a b",
        ',x="a',
        ",x=a=b",
        ",\u00fc=1",
        ",x=\u00fc",
        "\n",
    ],
)
def test_malformed(issuer: Issuer, verifier: Verifier, more: str) -> None:
    """Also a duplicate name: another reader might use the other value."""
    text = issuer.issue(TOKEN)
    if more == "\n":
        text = text.replace(",access", "\n,access")
        more = ""
    assert refused(verifier, text + more) == "malformed"
    assert refused(verifier, more.lstrip(",") + "," + text) == "malformed"


@pytest.mark.parametrize(
    "text", ["", "   ", "Token", "Token ", ",", "x" * 5000, "signature=" * 400]
)
def test_no_token_at_all(verifier: Verifier, text: str) -> None:
    assert refused(verifier, text) == "malformed"


def test_the_key_must_be_known(issuer: Issuer, verifier: Verifier) -> None:
    """An attacker's own key, under its own id or under the id of the index's key."""
    other = Issuer(tokens.new_key())
    forged = other.issue(TOKEN)
    assert refused(verifier, forged) == "its signing key is not known here"
    forged = forged.replace(other.key_id, issuer.key_id)
    assert refused(verifier, forged) == "the signature is wrong"
    without = re.sub(r",kid=\w+", "", issuer.issue(TOKEN))
    assert refused(verifier, without) == "its signing key is not known here"
    assert refused(Verifier({}), issuer.issue(TOKEN)) == "its signing key is not known here"


@pytest.mark.parametrize("signature", ["", "A", "A" * 86, "A" * 85, "!" * 86, "A" * 87])
def test_other_signatures(issuer: Issuer, verifier: Verifier, signature: str) -> None:
    text = re.sub(r"signature=[^,]*", f'signature="{signature}"', issuer.issue(TOKEN))
    assert refused(verifier, text) in ("malformed", "the signature is wrong")


def test_a_signature_has_one_spelling(issuer: Issuer, verifier: Verifier) -> None:
    """The last letter has four unused bits, and padding would be a second spelling as well."""
    text = issuer.issue(TOKEN)
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    last = text[len("signature=") + 85]
    head, tail = text[: len("signature=") + 85], text[len("signature=") + 86 :]
    for letter in letters:
        if letter != last:
            refused(verifier, head + letter + tail)
    refused(verifier, f"{head}{last}=={tail}")


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_may_change(issuer: Issuer, verifier: Verifier, position: int, bit: int) -> None:
    data = bytearray(issuer.issue(TOKEN).encode())
    data[position % len(data)] ^= 1 << bit
    text = data.decode("latin-1")
    try:
        found = verifier.verify(text, NOW)
    except TokenError:
        return
    assert found == TOKEN  # a blank for another, say: the same token


@given(st.text(max_size=300))
def test_any_text_is_refused_by_its_one_error(verifier: Verifier, text: str) -> None:
    for tried in (text, f"Token {text}", f"signature=A,{text}"):
        with pytest.raises(TokenError):
            verifier.verify(tried, NOW)


_names = st.text(string.ascii_lowercase, min_size=1, max_size=10)
_values = st.from_regex(r"[!#-+\--<>-~]{1,40}", fullmatch=True)


@given(st.dictionaries(_names, _values, min_size=1, max_size=6), st.booleans(), st.booleans())
def test_the_parser_reads_every_spelling(pairs: dict[str, str], quoted: bool, spaced: bool) -> None:
    assume(not next(iter(pairs)).startswith("token"))
    equals, comma = (" = ", " , ") if spaced else ("=", ",")
    quote = '"' if quoted else ""
    text = comma.join(f"{name}{equals}{quote}{value}{quote}" for name, value in pairs.items())
    assert tokens.parse(text) == pairs
    assert tokens.parse(f"Token {text}") == pairs


def test_keys_as_text(issuer: Issuer) -> None:
    text = tokens.public_text(issuer.public)
    assert tokens.parse_public(text) == issuer.public
    for wrong in ("", text[:-1], text + "A", text + "=", text[:-1] + "!", f" {text}"):
        with pytest.raises(ValueError, match="must be a public key"):
            tokens.parse_public(wrong)


def test_new_keys_differ() -> None:
    one, two = Issuer(tokens.new_key()), Issuer(tokens.new_key())
    assert one.key_id != two.key_id
    assert one.key_id == tokens.key_id(one.public)
