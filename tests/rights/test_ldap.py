"""A registry with accounts in a directory. tests/auth tests the directory's code alone."""

from __future__ import annotations

import time
from pathlib import Path

from tests import raw
from tests.backends.slapd import ADMIN, ADMIN_PASSWORD, GROUPS, PASSWORD, PEOPLE, Slapd
from tests.live_server import Server
from tests.needs import needs
from tests.protocol import engine
from tests.protocol.engine import image
from tests.rights.accounts import Client, basic, environment, password_file
from tests.waiting import wait_for

RULES = [
    {"who": "@ops", "repositories": "team/*", "allow": ["pull", "push"]},
    {"who": "users", "repositories": "team/*", "allow": "pull"},
]


@needs("slapd", "openssl")
def test_accounts_in_a_directory_and_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "slapd").mkdir()
    file = password_file(tmp_path, ["robot"], "for robots")
    with Slapd(tmp_path / "slapd") as slapd:
        env = environment(
            file,
            RULES,
            LDAP_URL=f"ldap://127.0.0.1:{slapd.port}",
            LDAP_START_TLS="true",
            LDAP_CA=str(slapd.certificate),
            LDAP_BASE=PEOPLE,
            LDAP_BIND_DN=ADMIN,
            LDAP_BIND_PASSWORD=ADMIN_PASSWORD,
            LDAP_GROUPS_BASE=GROUPS,
            LDAP_TIMEOUT="2s",
            ACCOUNTS_REMEMBER="2s",
            LOGLEVEL="debug",
        )
        with Server(tmp_path / "store", env=env) as server:
            _push_and_pull(server)
            assert _login(server, "robot", "for robots") == 200
            assert _login(server, "ada", "for robots") == 401
            assert _login(server, "ada", "") == 401
            slapd.stop()
            assert _login(server, "ada", PASSWORD) == 200  # believed for a while
            wait_for(lambda: _login(server, "ada", PASSWORD) != 200)
            _unavailable(server)
            slapd.start()
            assert _login(server, "ada", PASSWORD) == 200
            with slapd.frozen():
                wait_for(lambda: _login(server, "ada", PASSWORD) != 200)
                begun = time.monotonic()
                _unavailable(server)
                assert time.monotonic() - begun < 30  # LDAP_TIMEOUT and tries, not a speed
            for secret in (PASSWORD, ADMIN_PASSWORD, "for robots"):
                assert secret not in server.log


def _push_and_pull(server: Server) -> None:
    ada, bob = (Client(server, basic(name, PASSWORD)) for name in ("ada", "bob"))
    one = image("by a directory")
    ada.push("team/app", [one])
    assert bob.pull("team/app") == {one.id: one.layer}
    engine.expect(bob.ask("PUT", "/v1/repositories/team/app/", b"[]"), 403)


def _login(server: Server, user: str, password: str) -> int:
    return raw.get(server, "/v1/users/", basic(user, password)).status


def _unavailable(server: Server) -> None:
    answer = raw.get(server, "/v1/users/", basic("ada", PASSWORD))
    assert answer.status == 503
    assert answer.json() == {"error": "The accounts cannot be looked up now, retry later"}
    assert answer.header("Retry-After") == "5"
