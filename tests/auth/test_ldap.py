"""Accounts in a directory: Debian's slapd, with and without TLS."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.backends.slapd import ADMIN, ADMIN_PASSWORD, GROUPS, PASSWORD, PEOPLE, Slapd
from v1registry.config.option import options_of
from v1registry.config.tables.access import LdapOptions
from v1registry.lib.errors import Failure

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # ldap3's own, about pyasn1's old names
    from v1registry.auth.ldap import Directory

DEFAULTS = {option.key: option for option in options_of(LdapOptions)}


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with Slapd(tmp_path_factory.mktemp("slapd")) as running:
        yield running


def options(slapd: Slapd, way: str) -> dict[str, Any]:
    """Return the options for one way to find accounts, over plain LDAP, LDAPS or StartTLS."""
    found: dict[str, Any] = {name: option.check(None) for name, option in DEFAULTS.items()}
    found |= {"url": f"ldap://127.0.0.1:{slapd.port}", "groups_base": GROUPS, "timeout": 2}
    if "pattern" in way:
        found["user_dn"] = f"uid={{user}},{PEOPLE}"
    else:
        found |= {"base": PEOPLE, "bind_dn": ADMIN, "bind_password": ADMIN_PASSWORD}
    if "by hand" in way:
        found["filter"] = "(&(objectClass=inetOrgPerson)(uid={user}))"
        found["groups_filter"] = "(member={dn})"
    if "TLS" in way:
        found |= {"start_tls": True, "ca": str(slapd.certificate)}
    if "LDAPS" in way:
        found |= {"url": f"ldaps://127.0.0.1:{slapd.tls_port}", "ca": str(slapd.certificate)}
    return found


def directory(found: dict[str, Any]) -> Directory:
    return Directory(LdapOptions(**found), lambda _, call: call())


WAYS = ("pattern", "search", "search by hand, STARTTLS", "pattern, LDAPS")
WRONG = [
    ("ada", "wrong"),
    ("ada", ""),  # a bind without a password always succeeds
    ("", PASSWORD),
    ("eve", PASSWORD),
    ("*", PASSWORD),
    ("a*", PASSWORD),
    ("ada)(uid=bob", PASSWORD),
    ("ada,ou=people", PASSWORD),
    ("ada\0", PASSWORD),
    ("{dn}", PASSWORD),
    ("empty", PASSWORD),
    ("\ud800", PASSWORD),
    ("x" * 2000, PASSWORD),
]


@pytest.mark.parametrize("way", WAYS)
def test_accounts_and_their_groups(slapd: Slapd, way: str) -> None:
    one = directory(options(slapd, way))
    assert one.groups("ada", PASSWORD, "") == {"ops"}
    assert one.groups("bob", PASSWORD, "") == frozenset()
    assert one.groups("a*(b)", PASSWORD, "") == {"odd"}
    for user, password in WRONG:
        assert one.groups(user, password, "") is None, user


def test_without_groups(slapd: Slapd) -> None:
    one = directory(options(slapd, "pattern") | {"groups_base": None})
    assert one.groups("ada", PASSWORD, "") == frozenset()


def test_a_user_name_of_several_entries_is_refused(slapd: Slapd) -> None:
    one = directory(options(slapd, "search") | {"filter": "(|(uid={user})(uid=bob))"})
    assert one.groups("ada", PASSWORD, "") is None
    assert one.groups("bob", PASSWORD, "") == frozenset()


def unavailable(one: Directory, log: pytest.LogCaptureFixture, why: str = "") -> None:
    log.clear()
    with pytest.raises(Failure) as caught:
        one.groups("ada", PASSWORD, "")
    assert caught.value.status == 503
    assert caught.value.headers == {"Retry-After": "5"}
    [record] = log.records
    assert record.levelno == logging.WARNING
    assert "is unavailable" in record.getMessage()
    assert why in record.getMessage()
    assert PASSWORD not in record.getMessage()


BROKEN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "a certificate of an unknown CA": lambda o: o | {"ca": None},
    "a certificate of another name": lambda o: (
        o | {"url": o["url"].replace("127.0.0.1", "localhost")}
    ),
    "a closed port": lambda o: o | {"url": "ldap://127.0.0.1:1", "start_tls": False},
    "TLS on the plain port": lambda o: o | {"url": o["url"].replace("ldap:", "ldaps:")},
    "an invalid filter": lambda o: o | {"filter": "((uid={user}"},
    "a wrong bind_password": lambda o: o | {"bind_password": "forgotten"},
}


@pytest.mark.parametrize("what", BROKEN)
def test_errors_of_the_directory(slapd: Slapd, caplog: pytest.LogCaptureFixture, what: str) -> None:
    found = BROKEN[what](options(slapd, "search by hand, STARTTLS"))
    found["start_tls"] = found["start_tls"] and not found["url"].startswith("ldaps")
    unavailable(directory(found), caplog)
    assert "forgotten" not in caplog.text


def test_a_directory_that_does_not_respond(slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    one = directory(options(slapd, "search") | {"timeout": 1})
    with slapd.frozen():
        begun = time.monotonic()
        unavailable(one, caplog)
        assert time.monotonic() - begun < 10
    assert one.groups("ada", PASSWORD, "") == {"ops"}


def test_a_directory_that_is_available_again(
    slapd: Slapd, caplog: pytest.LogCaptureFixture
) -> None:
    one = directory(options(slapd, "pattern"))
    slapd.stop()
    try:
        unavailable(one, caplog, "Connection refused")
    finally:
        slapd.start()
    assert one.groups("ada", PASSWORD, "") == {"ops"}
