"""Accounts in a directory: Debian's slapd, found by a pattern and by a search, with TLS and without."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests import raw
from tests.backends.slapd import ADMIN, ADMIN_PASSWORD, GROUPS, PASSWORD, PEOPLE, Slapd
from tests.protocol import engine
from tests.protocol.engine import image
from tests.rights.accounts import Client, basic, environment, password_file
from tests.server import Server

RULES = [
    {"who": "@ops", "repositories": "team/*", "allow": ["pull", "push"]},
    {"who": "users", "repositories": "team/*", "allow": "pull"},
]
WAYS = ("pattern", "search", "search by hand, STARTTLS", "pattern, LDAPS")


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with Slapd(tmp_path_factory.mktemp("slapd")) as running:
        yield running


def variables(slapd: Slapd, way: str) -> dict[str, str]:
    found = {"LDAP_URL": f"ldap://127.0.0.1:{slapd.port}", "LDAP_GROUPS_BASE": GROUPS}
    found |= {"LDAP_TIMEOUT": "2s"}
    if "pattern" in way:
        found["LDAP_USER_DN"] = f"uid={{user}},{PEOPLE}"
    else:
        found |= {"LDAP_BASE": PEOPLE, "LDAP_BIND_DN": ADMIN}
        found["LDAP_BIND_PASSWORD"] = ADMIN_PASSWORD
    if way.endswith("LDAPS"):
        found["LDAP_URL"] = f"ldaps://127.0.0.1:{slapd.tls_port}"
    if way.endswith("STARTTLS"):
        found["LDAP_START_TLS"] = "true"
        found["LDAP_FILTER"] = "(&(objectClass=inetOrgPerson)(uid={user}))"
        found["LDAP_GROUPS_FILTER"] = "(member={dn})"
    if way.endswith(("LDAPS", "STARTTLS")):
        found["LDAP_CA"] = str(slapd.certificate)
    return found


@pytest.fixture(scope="module", params=WAYS)
def server(
    request: pytest.FixtureRequest, slapd: Slapd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    env = environment(None, RULES, **variables(slapd, request.param))
    with Server(tmp_path_factory.mktemp("ldap") / "store", env=env) as running:
        yield running


def login(server: Server, user: str, password: str) -> int:
    return raw.get(server, "/v1/users/", basic(user, password)).status


def test_accounts(server: Server) -> None:
    ada, bob = (Client(server, basic(name, PASSWORD)) for name in ("ada", "bob"))
    one = image("by a directory")
    ada.push("team/app", [one])
    assert bob.pull("team/app") == {one.id: one.layer}
    engine.expect(bob.ask("PUT", "/v1/repositories/team/app/", b"[]"), 403)
    for user, password in [
        ("ada", "wrong"),
        ("ada", ""),  # a bind without a password always succeeds
        ("", PASSWORD),
        ("eve", PASSWORD),
        ("*", PASSWORD),
        ("a*", PASSWORD),
        ("ada)(uid=bob", PASSWORD),
        ("ada,ou=people", PASSWORD),
        ("ada\0", PASSWORD),
        ("empty", PASSWORD),
        ("x" * 2000, PASSWORD),
    ]:
        assert login(server, user, password) == 401, user
    assert login(server, "a*(b)", PASSWORD) == 200


def test_nothing_secret_is_logged(server: Server) -> None:
    login(server, "ada", "wrong guess")
    for secret in (PASSWORD, "wrong guess", ADMIN_PASSWORD):
        assert secret not in server.log


def test_a_password_that_was_right_is_believed_for_a_while(slapd: Slapd, tmp_path) -> None:
    env = environment(None, RULES, **variables(slapd, "pattern"), ACCOUNTS_REMEMBER="2s")
    with Server(tmp_path / "store", env=env) as server:
        assert login(server, "ada", PASSWORD) == 200
        slapd.stop()
        try:
            assert login(server, "ada", PASSWORD) == 200
            time.sleep(2.1)
            _unavailable(server)
        finally:
            slapd.start()
        assert login(server, "ada", PASSWORD) == 200


def test_a_directory_that_says_nothing(slapd: Slapd, tmp_path) -> None:
    env = environment(None, RULES, **variables(slapd, "search"))
    with Server(tmp_path / "store", env=env) as server, slapd.frozen():
        begun = time.monotonic()
        _unavailable(server)
        assert time.monotonic() - begun < 10
        assert raw.get(server, "/v1/_ping").status == 200


def test_a_certificate_that_nobody_vouches_for(slapd: Slapd, tmp_path) -> None:
    env = variables(slapd, "pattern, LDAPS")
    del env["LDAP_CA"]
    with Server(tmp_path / "store", env=environment(None, RULES, **env)) as server:
        _unavailable(server)


def test_we_ourselves_are_not_let_in(slapd: Slapd, tmp_path) -> None:
    env = variables(slapd, "search") | {"LDAP_BIND_PASSWORD": "forgotten"}
    with Server(tmp_path / "store", env=environment(None, RULES, **env)) as server:
        _unavailable(server)
        assert "does not take bind_dn and bind_password" in server.log
        assert "forgotten" not in server.log


def test_a_file_beside_the_directory(slapd: Slapd, tmp_path) -> None:
    file = password_file(tmp_path, ["robot"], "for robots")
    env = environment(file, RULES, **variables(slapd, "pattern"))
    with Server(tmp_path / "store", env=env) as server:
        assert login(server, "robot", "for robots") == 200
        assert login(server, "ada", PASSWORD) == 200
        assert login(server, "ada", "for robots") == 401


def _unavailable(server: Server) -> None:
    answer = raw.get(server, "/v1/users/", basic("ada", PASSWORD))
    assert answer.status == 503
    assert answer.json() == {"error": "The accounts cannot be looked up now, retry later"}
    assert answer.header("Retry-After") == "5"
    assert "cannot be asked" in server.log
