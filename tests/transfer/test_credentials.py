"""Credentials for other registries in Docker's configuration, and answers to challenges."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from v1registry.transfer import challenge, credentials
from v1registry.transfer.challenge import Keyring
from v1registry.transfer.credentials import RegistryLogin
from v1registry.transfer.errors import Rejected, TransferError


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("document", "host", "account"),
    [
        (
            {"auths": {"r.example": {"auth": b64("ann:pw")}}},
            "r.example",
            RegistryLogin("ann", "pw"),
        ),
        (
            {"auths": {"r.example": {"auth": b64("ann:p:w")}}},
            "r.example",
            RegistryLogin("ann", "p:w"),
        ),
        (
            {"auths": {"r.example": {"auth": b64("ann:pw\0\0")}}},
            "r.example",
            RegistryLogin("ann", "pw"),
        ),
        (
            {"auths": {"https://r.example/v2/": {"auth": b64("a:b")}}},
            "r.example",
            RegistryLogin("a", "b"),
        ),
        (
            {"auths": {"https://r.example": {"auth": b64("a:b")}}},
            "r.example",
            RegistryLogin("a", "b"),
        ),
        (
            {"auths": {"r.example:5000": {"auth": b64("a:b")}}},
            "r.example:5000",
            RegistryLogin("a", "b"),
        ),
        ({"auths": {"r.example": {"auth": b64("a:b")}}}, "r.example:5000", None),
        (
            {"auths": {"r.example": {"username": "a", "password": "b"}}},
            "r.example",
            RegistryLogin("a", "b"),
        ),
        (
            {"auths": {"https://index.docker.io/v1/": {"auth": b64("a:b")}}},
            "registry-1.docker.io",
            RegistryLogin("a", "b"),
        ),
        (
            {"auths": {"r.example": {"auth": b64("a:"), "identitytoken": "t"}}},
            "r.example",
            RegistryLogin("a", "", "t"),
        ),
        ({"auths": {"r.example": {}}}, "r.example", None),
        ({"auths": []}, "r.example", None),
        ({}, "r.example", None),
    ],
)
def test_logins_in_the_configuration(
    tmp_path: Path, document: dict[str, Any], host: str, account: RegistryLogin | None
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(document))
    assert credentials.find(host, file) == account


def test_the_path_of_dockers_configuration() -> None:
    assert credentials.config_file({"DOCKER_CONFIG": "/a"}) == Path("/a/config.json")
    assert credentials.config_file({"HOME": "/h"}) == Path("/h/.docker/config.json")


def test_a_missing_file_means_no_login(tmp_path: Path) -> None:
    assert credentials.find("r.example", tmp_path / "config.json") is None


BROKEN = [
    "{",
    "[]",
    "[" * 100_000,
    '{"auths":' * 100_000,
    '{"auths": {"r.example": {"auth": "%"}}}',
]
BROKEN += [
    json.dumps({"auths": {"r.example": entry}})
    for entry in (
        {"username": 5, "password": "b"},
        {"username": "a", "password": ["b"]},
        {"username": "a\0b", "password": "c"},
        {"username": "a", "password": "c\r\nd"},
        {"username": "\ud800", "password": "c"},
        {"auth": b64("a\0b:c")},
        {"auth": 7},
        {"identitytoken": {"a": 1}},
        {"identitytoken": "a\0"},
    )
]
BROKEN_HELPERS = ["a\0b", "a/b", "\ud800", "x\n", {"a": 1}, 5, ["x"]]


@pytest.mark.parametrize("where", ["credsStore", "credHelpers"])
@pytest.mark.parametrize("helper", BROKEN_HELPERS)
def test_a_bad_helper_name_is_an_error(tmp_path: Path, helper: Any, where: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps({where: {"r.example": helper} if where == "credHelpers" else helper})
    )
    with pytest.raises(TransferError, match="a credential helper cannot be called"):
        credentials.find("r.example", file)


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(TransferError, match=r"config\.json"):
        credentials.find("r.example", file)


def helper(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = folder / "docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    file = folder / "config.json"
    file.write_text('{"credHelpers": {"r.example": "test"}, "credsStore": "none"}')
    return file


def test_a_helper_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """read host; echo "{\\"Username\\": \\"$1 $host\\", \\"Secret\\": \\"pw\\"}" """
    file = helper(tmp_path, script, monkeypatch)
    assert credentials.find("r.example", file) == RegistryLogin("get r.example", "pw")


def test_a_helper_gives_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = helper(tmp_path, """echo '{"Username": "<token>", "Secret": "t"}'""", monkeypatch)
    assert credentials.find("r.example", file) == RegistryLogin("", "", "t")


def test_a_helper_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "echo credentials not found in native keychain; exit 1"
    assert credentials.find("r.example", helper(tmp_path, script, monkeypatch)) is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo locked; exit 1", "failed: locked"),
        ("echo hello", "without a valid account"),
        ("printf '\\377'; exit 1", "failed: "),
        ("head -c 100000 /dev/zero | tr '\\0' '['", "without a valid account"),
        ("""echo '{"Username": 1, "Secret": "s"}'""", "cannot be read"),
        (r"""echo '{"Username": "a", "Secret": "\\u0000"}'""", "control characters"),
    ],
)
def test_a_helper_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    with pytest.raises(TransferError, match=reason):
        credentials.find("r.example", helper(tmp_path, script, monkeypatch))


def test_a_helper_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"credsStore": "surely-not-there"}')
    with pytest.raises(TransferError, match="docker-credential-surely-not-there is not installed"):
        credentials.find("r.example", file)
    file.write_text('{"credsStore": "../../bin/sh"}')
    with pytest.raises(TransferError, match="cannot be called"):
        credentials.find("r.example", file)


def test_a_helper_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = helper(tmp_path, "", monkeypatch)
    (tmp_path / "docker-credential-test").write_text("#!/nowhere/at/all\n")
    with pytest.raises(TransferError, match="docker-credential-test"):
        credentials.find("r.example", file)
    (tmp_path / "docker-credential-test").write_bytes(b"\x7fELF")
    with pytest.raises(TransferError, match="docker-credential-test cannot be run"):
        credentials.find("r.example", file)


def test_an_option() -> None:
    for text in ("a\0:b", "a:b\n", "a:\udcff"):
        with pytest.raises(TransferError, match="control characters"):
            credentials.parse(text)
    assert credentials.parse("ann:p:w") == RegistryLogin("ann", "p:w")
    for text in ("ann", ":pw", ""):
        with pytest.raises(TransferError, match="USER:PASSWORD"):
            credentials.parse(text)


def test_passwords_are_not_shown() -> None:
    assert "hush" not in repr(RegistryLogin("ann", "hush", "hush"))


# -- challenges ------------------------------------------------------------------------


BEARER = {
    "realm": "https://a.example/token?x=1,2",
    "service": "r",
    "scope": "repository:a/b:pull",
}
BEARER_TEXT = 'Bearer realm="https://a.example/token?x=1,2",service="r",scope="repository:a/b:pull"'


@pytest.mark.parametrize(
    ("text", "challenges"),
    [
        (BEARER_TEXT, [("bearer", BEARER)]),
        (f'{BEARER_TEXT}, Basic realm="r"', [("bearer", BEARER), ("basic", {"realm": "r"})]),
        (f'BASIC realm="r",{BEARER_TEXT}', [("basic", {"realm": "r"}), ("bearer", BEARER)]),
        ('Negotiate, Basic realm="r"', [("negotiate", {}), ("basic", {"realm": "r"})]),
        ('Negotiate oYG+/=, Basic realm="r"', [("negotiate", {}), ("basic", {"realm": "r"})]),
        (
            f"NTLM,Negotiate abc==,{BEARER_TEXT}",
            [("ntlm", {}), ("negotiate", {}), ("bearer", BEARER)],
        ),
        ("Basic", [("basic", {})]),
        ('Basic realm=""', [("basic", {"realm": ""})]),
        ("Basic realm = r , charset=UTF-8", [("basic", {"realm": "r", "charset": "UTF-8"})]),
        (
            r'Digest realm="a \"b\", Basic realm=c", qop="auth,auth-int", Basic realm="d"',
            [
                ("digest", {"realm": 'a "b", Basic realm=c', "qop": "auth,auth-int"}),
                ("basic", {"realm": "d"}),
            ],
        ),
        (', ,Basic realm="r",,', [("basic", {"realm": "r"})]),
        ('Bearer realm="one",realm="two"', [("bearer", {"realm": "one"})]),
        ('realm="r"', []),
        ('"Basic"', []),
        ("", []),
    ],
)
def test_challenges_are_parsed(text: str, challenges: list[tuple[str, dict[str, str]]]) -> None:
    assert [(one.scheme, one.parameters) for one in challenge.parse(text)] == challenges


def test_a_long_challenge_costs_little() -> None:
    begun = time.monotonic()
    for text in ('Basic realm="' + "\\" * 60_000, "a " * 60_000, "a=" * 60_000, "Basic a," * 9000):
        challenge.parse(text)
    assert time.monotonic() - begun < 20  # a bound: quadratic time would take minutes


class Answer:
    """A fake response of requests."""

    def __init__(self, status: int, document: Any) -> None:
        self.status_code = status
        self._document = document

    def json(self) -> Any:
        return self._document


R = "https://r.example"
CHALLENGE = 'Bearer realm="https://a.example/token",service="r"'
SCOPES = ("repository:a/b:pull,push",)


def test_a_token_is_fetched_once_and_kept() -> None:
    asked: list[tuple[str, str, dict[str, Any]]] = []

    def fetch(method: str, url: str, **more: Any) -> Answer:
        asked.append((method, url, more))
        return Answer(200, {"token": f"t{len(asked)}", "expires_in": 300})

    keys = Keyring(RegistryLogin("ann", "pw"), R)
    assert keys.header(SCOPES) is None
    assert keys.answer(CHALLENGE, SCOPES, None, fetch) == "Bearer t1"
    assert keys.header(SCOPES) == "Bearer t1"
    assert keys.header(("other",)) is None
    assert (
        keys.answer(CHALLENGE, SCOPES, None, fetch) == "Bearer t1"
    )  # the question of another thread
    assert keys.answer(CHALLENGE, SCOPES, "Bearer t1", fetch) == "Bearer t2"  # refused: a new one
    method, url, more = asked[0]
    assert (method, url) == ("GET", "https://a.example/token")
    assert more["params"] == [("scope", SCOPES[0]), ("service", "r")]
    assert more["headers"] == {"Authorization": f"Basic {b64('ann:pw')}"}


def test_an_identity_token_is_exchanged() -> None:
    def fetch(method: str, url: str, **more: Any) -> Answer:
        assert method == "POST"
        assert ("refresh_token", "long") in more["data"]
        assert ("scope", SCOPES[0]) in more["data"]
        return Answer(200, {"access_token": "short"})

    assert (
        Keyring(RegistryLogin("", "", "long"), R).answer(CHALLENGE, SCOPES, None, fetch)
        == "Bearer short"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(401, {}), "answered 401"),
        (Answer(200, {}), "without a valid token"),
        (Answer(200, []), "without a valid token"),
        (Answer(200, {"token": "t", "expires_in": "soon"}), "without a valid token"),
        (Answer(200, {"token": "t\r\nHost: evil"}), "a token that a header cannot hold"),
        (Answer(200, {"token": "\u20ac"}), "a token that a header cannot hold"),
        (Answer(200, {"token": ["t"]}), "a token that a header cannot hold"),
    ],
)
def test_no_token(answer: Answer, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        Keyring(None, R).answer(CHALLENGE, SCOPES, None, lambda *_, **__: answer)


def test_a_password_does_not_leave_tls() -> None:
    with pytest.raises(Rejected, match=r"unencrypted address 'http://a\.example/token'"):
        Keyring(RegistryLogin("ann", "pw"), R).answer(
            'Bearer realm="http://a.example/token"', SCOPES, None, lambda *_, **__: None
        )


def test_basic() -> None:
    keys = Keyring(RegistryLogin("ann", "pw"), R)
    basic = keys.answer('Basic realm="r"', SCOPES, None, lambda *_, **__: None)
    assert basic == f"Basic {b64('ann:pw')}"
    assert keys.header(SCOPES) == basic
    with pytest.raises(Rejected, match="refused the credentials"):
        keys.answer('Basic realm="r"', SCOPES, basic, lambda *_, **__: None)
    with pytest.raises(Rejected, match="requires credentials"):
        Keyring(None, R).answer('Basic realm="r"', SCOPES, None, lambda *_, **__: None)
