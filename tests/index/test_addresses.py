"""Lookup of PostgreSQL's host by Python, in a thread (index.addresses)."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.backends.postgres import Postgres
from tests.index.conftest import open_database
from v1registry.index.addresses import Addresses
from v1registry.lib.errors import Failure


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the hosts that were looked up at a fake name server, which knows two."""
    found: list[str] = []

    def fake(host: str, *_: Any, **__: Any) -> list[Any]:
        found.append(host)
        known = {
            "db.example": ["192.0.2.1", "192.0.2.1", "2001:db8::1"],
            "localhost": ["127.0.0.1"],
        }
        if host not in known:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return [(2, 1, 6, "", (address, 0)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return found


def test_every_address_is_tried(asked: list[str]) -> None:
    arguments = {"host": "db.example", "port": 5432, "dbname": "x"}
    Addresses().fill_in(arguments)
    assert arguments == {
        "host": "db.example,db.example", "hostaddr": "192.0.2.1,2001:db8::1",
        "port": 5432, "dbname": "x",
    }  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {}, {"host": "192.0.2.1"}, {"host": "::1"}, {"host": "fe80::1%eth0"}, {"host": ""},
        {"host": "/run/postgresql"}, {"host": "a,b"}, {"host": "a", "hostaddr": "192.0.2.1"},
    ],
)  # fmt: skip
def test_hosts_that_need_no_lookup(asked: list[str], given: dict[str, str]) -> None:
    arguments = dict(given)
    Addresses().fill_in(arguments)
    assert (arguments, asked) == (given, [])


def test_lookups_pause_after_a_failure(asked: list[str]) -> None:
    addresses = Addresses()
    for _ in range(5):
        with pytest.raises(OSError, match=r"name resolution|address of gone"):
            addresses.fill_in({"host": "gone.example"})
    assert asked == ["gone.example"]


def test_a_lookup_that_times_out_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(BaseException):
        """Raise the exception with which gevent cancels a call."""

    def fake(*_: Any, **__: Any) -> None:
        raise Broken

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    addresses = Addresses()
    with pytest.raises(Broken):
        addresses.fill_in({"host": "slow.example"})
    with pytest.raises(OSError, match="a moment ago"):
        addresses.fill_in({"host": "slow.example"})


def test_a_database_by_name(asked: list[str], postgres: Postgres) -> None:
    url = postgres.database().replace("127.0.0.1", "localhost")
    database = open_database(url)
    database.prepare()
    database.close()
    assert "localhost" in asked
    database = open_database("postgresql://me@gone.example/x", timeout=1)
    with pytest.raises(Failure) as found:
        database.prepare()
    database.close()
    assert found.value.status == 503
