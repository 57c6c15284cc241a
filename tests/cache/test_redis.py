"""RedisCache with a real redis-server. test_shared and test_faults test it in a registry."""

from __future__ import annotations

import logging
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_server import free_port
from tests.needs import needs, tool
from tests.redisserver import Redis
from tests.waiting import wait_for
from v1registry.cache import redis as module
from v1registry.cache.redis import RedisCache
from v1registry.config.redis import parse
from v1registry.lib.errors import Failure
from v1registry.lib.support.throttle import KNOWN, WINDOW, Throttle

PREFIX = "v1registry:test:"


def level(url: str, prefix: str = PREFIX, life: int = 60, ca: str | None = None) -> RedisCache:
    at = parse(url, ca=ca)
    return RedisCache(at, prefix, life=life, limit=1000, within=lambda _, call: call())


def works(one: RedisCache) -> bool:
    one.put("works", b"\0\xff")
    return one.get("works") == b"\0\xff" and one.check() is None


@pytest.fixture
def url(redis: Redis) -> str:
    redis("FLUSHALL")
    return f"redis://127.0.0.1:{redis.port}"


def test_prefix_life_and_limit(redis: Redis, url: str) -> None:
    one = level(url)
    assert one.get("a") is None
    one.put("a", b"x" * 1000)
    one.put("b", b"x" * 1001)
    assert one.get("a") == b"x" * 1000
    assert redis.all_keys() == [f"{PREFIX}a"]
    assert 55 <= int(redis("TTL", f"{PREFIX}a")) <= 60
    assert 1000 < int(redis("MEMORY", "USAGE", f"{PREFIX}a")) < 1400


def test_a_short_life_ends(url: str) -> None:
    one = level(url, life=1)
    one.put("a", b"x")
    assert one.get("a") == b"x"
    wait_for(lambda: one.get("a") is None, 10)


def test_databases_and_prefixes_are_separate(redis: Redis, url: str) -> None:
    level(f"{url}/3").put("a", b"3")
    level(url, "other:").put("a", b"other")
    assert level(url).get("a") is None
    assert redis("-n", "3", "GET", f"{PREFIX}a") == "3"


def test_foreign_values_under_our_key(redis: Redis, url: str, caplog) -> None:
    one = level(url)
    redis("SET", f"{PREFIX}huge", "x" * 100_000)
    redis("RPUSH", f"{PREFIX}list", "x")
    redis("SET", f"{PREFIX}empty", "")
    for key in ("huge", "list", "empty"):
        assert one.get(key) is None
        one.put(key, b"ours")
        assert one.get(key) == b"ours"
    assert caplog.records == []  # that is no failure of Redis


def test_unix_socket(redis: Redis) -> None:
    assert works(level(f"unix://{redis.socket}?db=2"))
    assert redis("-n", "2", "EXISTS", f"{PREFIX}works") == "1"


def test_user_and_password(redis: Redis) -> None:
    redis("ACL", "SETUSER", "reg", "on", ">p@ss", f"~{PREFIX}*", "+getrange", "+set", "+ping")
    try:
        assert works(level(f"redis://reg:p%40ss@127.0.0.1:{redis.port}"))
        reason = "the password is wrong, or Redis requires none"
        assert level(f"redis://reg:wrong@127.0.0.1:{redis.port}").check() == reason
        assert level(f"redis://:wrong@127.0.0.1:{redis.port}").check() == reason
    finally:
        redis("ACL", "DELUSER", "reg")


def test_a_redis_user_without_permission_to_write(redis: Redis, caplog) -> None:
    redis("ACL", "SETUSER", "reader", "on", ">p", "~*", "+getrange", "+ping", "+select")
    one = level(f"redis://reader:p@127.0.0.1:{redis.port}")
    redis("SET", f"{PREFIX}there", "x")
    for _ in range(3):
        one.put("a", b"x")
    assert one.get("there") == b"x"
    [record] = caplog.records
    assert "refuses values: " in record.getMessage()
    redis("ACL", "SETUSER", "reader", "-getrange")
    caplog.clear()
    assert [one.get("there") for _ in range(3)] == [None] * 3
    [record] = caplog.records
    assert "is not used for now" in record.getMessage()
    redis("ACL", "DELUSER", "reader")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return certificate, key


@needs("redis", "openssl")
def test_tls(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    port = free_port()
    options = {
        "tls_port": str(port),
        "tls_cert_file": str(certificate[0]),
        "tls_key_file": str(certificate[1]),
        "tls_auth_clients": "no",
    }
    with tempfile.TemporaryDirectory(prefix="v1r-") as folder:
        with Redis(Path(folder), **options):
            assert works(level(f"rediss://localhost:{port}", ca=str(certificate[0])))
            assert works(level(f"rediss://127.0.0.1:{port}", ca=str(certificate[0])))
            assert "CERTIFICATE_VERIFY_FAILED" in (
                level(f"rediss://localhost:{port}").check() or ""
            )
            assert level(f"redis://localhost:{port}").check() is not None


# -- what is no Redis -----------------------------------------------------------------------------


class Other:
    """A server that is not Redis. It answers everything with `answer`, or closes the connection for None."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.asked = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        held = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            self.asked += 1
            if self._answer is None:
                connection.close()
                continue
            held.append(connection)
            connection.settimeout(1)
            try:
                connection.recv(1000)
                connection.sendall(self._answer)
            except OSError:
                pass
        for connection in held:
            connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


WRONG = [
    None,
    b"",
    b"HTTP/1.1 400 Bad\r\n\r\n",
    b"$x\r\n",
    b"$-5\r\n",
    b"\xff" * 50,
    b"*-9\r\n",
    b":5\r\n",
    b"$1000000000\r\nx",
    b"-LOADING Redis is loading\r\n",
]


@pytest.fixture(params=WRONG)
def other(request: pytest.FixtureRequest) -> Iterator[Other]:
    running = Other(request.param)
    yield running
    running.close()


def test_answers_of_a_server_that_is_not_redis_are_ignored(other: Other, caplog) -> None:
    one = level(f"redis://127.0.0.1:{other.port}")
    caplog.set_level(logging.WARNING)
    for _ in range(5):
        assert one.get("a") is None
        one.put("a", b"x")
    assert other.asked <= 2
    assert len(caplog.records) <= 1


def test_a_refused_connection(caplog) -> None:
    one = level(f"redis://127.0.0.1:{free_port()}")
    for _ in range(5):
        assert one.get("a") is None
        one.put("a", b"x")
    assert one.check() == "Connection refused"
    [record] = caplog.records
    assert record.getMessage().endswith("works without it: Connection refused")


def test_an_unknown_host_name(caplog) -> None:
    one = level("redis://no-such-host.invalid")
    assert one.get("a") is None
    assert len(caplog.records) == 1


# -- connections ----------------------------------------------------------------------------------


def test_a_connection_closed_while_idle_is_no_failure(redis: Redis, url: str, caplog) -> None:
    one = level(url)
    assert works(one)
    redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_for(lambda: redis("CLIENT", "LIST", "TYPE", "normal").count("id=") == 1)  # our request
    assert works(one)
    assert caplog.records == []


def test_more_callers_than_connections(redis: Redis, url: str, caplog) -> None:
    one = level(url)
    one.put("a", b"x")
    found = []

    def call() -> None:
        found.append(one.get("a"))

    before = int(redis("INFO", "stats").partition("total_connections_received:")[2].split()[0])
    threads = [threading.Thread(target=call) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    after = int(redis("INFO", "stats").partition("total_connections_received:")[2].split()[0])
    assert set(found) <= {b"x", None}
    assert b"x" in found
    assert after - before <= module._CONNECTIONS + 1
    assert caplog.records == []


def test_counters_that_nodes_share(redis: Redis, url: str) -> None:
    nodes = [Throttle(3, level(url)) for _ in range(2)]

    def passes(number: int, user: str = "ann", right: bool = False) -> bool:
        try:
            with nodes[number % 2].attempt(user, "10.0.0.7") as attempt:
                attempt.right = right
        except Failure as failure:
            return failure.status != 429
        return True

    assert [passes(number) for number in range(5)] == [True] * 3 + [False] * 2
    assert passes(0, "bob")
    keys = redis.all_keys()
    assert keys
    assert all(0 < int(redis("TTL", key)) <= 2 * WINDOW for key in keys)
    assert passes(1, "bob", right=True)
    known = set(redis.all_keys()) - set(keys)
    assert [0 < int(redis("TTL", key)) <= KNOWN for key in known] == [True]
    assert [passes(0, name) for name in ("cy", "di", "ed", "flo", "bob")] == [True] * 5
    assert passes(1, "gil")  # the ninth from one address: bob has come in from there before
    assert not passes(0, "hal")
    keys = redis.all_keys()
    assert not any(word in key for key in keys for word in ("ann", "bob", "10.0.0.7"))


def test_each_node_counts_for_itself_without_redis() -> None:
    throttle = Throttle(2, level(f"redis://127.0.0.1:{free_port()}"))
    for _ in range(2):
        with throttle.attempt("ann", "10.0.0.7"):
            pass
    with pytest.raises(Failure):
        throttle.check("ann", "10.0.0.7")


def test_each_node_counts_for_itself_while_redis_refuses_writes(redis: Redis, url: str) -> None:
    """The counters of Redis stay 0 and must not replace the counters of the node."""
    throttle = Throttle(2, level(url))
    redis("CONFIG", "SET", "maxmemory", "1")
    try:
        for _ in range(2):
            with throttle.attempt("ann", "10.0.0.8"):
                pass
        with pytest.raises(Failure):
            throttle.check("ann", "10.0.0.8")
    finally:
        redis("CONFIG", "SET", "maxmemory", "0")


def test_foreign_values_under_the_keys_of_counters(redis: Redis, url: str) -> None:
    one = level(url)
    assert one.add({"a": 2, "b": 0}, 60) == {"a": 2, "b": 0}
    for command in (("SET", "{}", "many"), ("LPUSH", "{}", "x")):
        key = next(name for name in redis.all_keys() if name.endswith("a"))
        redis("DEL", key)
        redis(*(word.format(key) for word in command))
        assert one.add({"a": 0}, 60) is None
        one = level(url)
        assert one.add({"a": 1}, 60) is None
        one = level(url)
