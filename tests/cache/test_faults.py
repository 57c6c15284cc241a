"""Failures of Redis: the registry works without it, logs the failure once, and recovers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import Image, image
from tests.redisserver import Redis

OFF, ON = "is not used for now", "is used again"
REFUSES, ACCEPTS = "refuses values", "accepts values again"
_WAIT = 40.0  # seconds; a pause is 3


@pytest.fixture(scope="module")
def registry(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry without a cache in memory, so that every request uses Redis."""
    env = {**redis.env, "CACHE_MEMORY": "0", "CACHE_REDIS_PASSWORD": "right"}
    redis("CONFIG", "SET", "requirepass", "right")
    redis.password = "right"
    with Server(tmp_path_factory.mktemp("faults") / "store", env=env) as server:
        yield server


@pytest.fixture
def pushed(registry: Server, request: pytest.FixtureRequest) -> Image:
    """An image in the store and in Redis."""
    made = image(request.node.name)
    engine.upload(registry, made)
    return made


class Log:
    """The log of a registry since the creation of this object."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._begin = len(server.log)

    def count(self, words: str) -> int:
        return self._server.log[self._begin :].count(words)


def ask(registry: Server, image: Image) -> None:
    """Get an image. A request that never ends fails here after ten seconds."""
    with contextlib.closing(raw.Connection(registry, timeout=10)) as connection:
        connection.send(
            f"GET {image.path('json')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        answer = connection.read()
    assert (answer.status, answer.body) == (200, image.json)


def ask_until(registry: Server, image: Image, log: Log, words: str) -> None:
    """Get an image repeatedly, always with success, until the log contains `words`."""
    end = time.monotonic() + _WAIT
    while not log.count(words):
        assert time.monotonic() < end, registry.log[-3000:]
        ask(registry, image)
        time.sleep(0.05)


def is_failing(registry: Server, reason: str) -> bool:
    """Return whether `_status` names only Redis as failing, and the log contains the reason."""
    told = status(registry) == (503, {"redis": "cannot be used now, the log says why"})
    return told and f"The service redis cannot be used: {reason}" in registry.log


def status(registry: Server) -> tuple[int, dict[str, str]]:
    answer = raw.get(registry, "/_status")
    body = answer.json()
    assert body["services"] == ["redis", "storage"]
    assert body["host"] == ""
    return answer.status, body["failures"]


def is_shared(redis: Redis, image: Image) -> bool:
    return any(key.endswith(f"image:{image.id}") for key in redis.all_keys())


def test_redis_is_killed_and_restarted(registry: Server, redis: Redis, pushed: Image) -> None:
    log = Log(registry)
    stop, failures = threading.Event(), []

    def reader() -> None:
        while not stop.is_set():
            try:
                ask(registry, pushed)
            except BaseException as error:
                failures.append(error)

    readers = [threading.Thread(target=reader) for _ in range(4)]
    for thread in readers:
        thread.start()
    redis.kill()
    try:
        ask_until(registry, pushed, log, OFF)
        other = image("pushed without redis")
        engine.upload(registry, other)
        ask(registry, other)
        assert is_failing(registry, "Connection refused")
    finally:
        redis.start()
    ask_until(registry, pushed, log, ON)
    ask(registry, pushed)
    stop.set()
    for thread in readers:
        thread.join(30)
    assert failures == []
    assert (log.count(OFF), log.count(ON)) == (1, 1)
    assert is_shared(redis, pushed)
    assert status(registry) == (200, {})


def test_redis_does_not_answer(registry: Server, redis: Redis, pushed: Image) -> None:
    log = Log(registry)
    redis.pause()
    try:
        with ThreadPoolExecutor(60) as clients:  # ten times as many as there are connections
            for asked in [clients.submit(ask, registry, pushed) for _ in range(180)]:
                asked.result()
        engine.upload(registry, image("pushed while redis does not answer"))
        assert is_failing(registry, "no answer within 0.25 s")
    finally:
        redis.go_on()
    ask_until(registry, pushed, log, ON)
    assert log.count(OFF) == 1
    assert log.count("works without it: no answer within 0.25 s") == 1
    redis("FLUSHALL")
    ask(registry, pushed)
    assert is_shared(redis, pushed)


def test_redis_is_full(registry: Server, redis: Redis, pushed: Image) -> None:
    log = Log(registry)
    redis("CONFIG", "SET", "maxmemory-policy", "noeviction")
    redis("CONFIG", "SET", "maxmemory", "1")
    try:
        others = [image(f"full {number}") for number in range(3)]
        for other in others:
            engine.upload(registry, other)
            ask(registry, other)
            assert not is_shared(redis, other)
        assert (log.count(REFUSES), log.count("used memory > 'maxmemory'"), log.count(OFF)) == (
            1,
            1,
            0,
        )
        # Reads still use Redis: the store no longer has the image.
        for part in ("json", "ancestry", "_checksum", "_commit"):
            (registry.store / "images" / pushed.id / part).unlink()
        ask(registry, pushed)
        assert status(registry)[0] == 200
    finally:
        redis("CONFIG", "SET", "maxmemory", "0")
    ask_until(registry, others[0], log, ACCEPTS)
    assert is_shared(redis, others[0])
    assert log.count(REFUSES) == 1


def test_redis_is_a_replica_and_refuses_writes(
    registry: Server, redis: Redis, pushed: Image
) -> None:
    log = Log(registry)
    redis("REPLICAOF", "127.0.0.1", "1")
    try:
        other = image("pushed with a replica")
        engine.upload(registry, other)
        ask(registry, other)
        ask(registry, pushed)
        assert (log.count(REFUSES), log.count(OFF)) == (1, 0)
    finally:
        redis("REPLICAOF", "NO", "ONE")
    ask_until(registry, other, log, ACCEPTS)


def test_redis_has_another_password(registry: Server, redis: Redis, pushed: Image) -> None:
    log = Log(registry)
    redis("CONFIG", "SET", "requirepass", "another")
    redis.password = "another"
    redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    try:
        ask_until(registry, pushed, log, OFF)
        assert is_failing(registry, "the password is wrong, or Redis requires none")
        assert log.count(OFF) == 1
    finally:
        redis("CONFIG", "SET", "requirepass", "right")
        redis.password = "right"
    ask_until(registry, pushed, log, ON)
    assert "right" not in registry.log
    assert "another\n" not in registry.log.replace("another password", "")


class Slow:
    """A server in place of Redis that sends a long answer one byte at a time."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.taken = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.taken += 1
            with connection, contextlib.suppress(OSError):
                connection.recv(1000)
                connection.sendall(b"+OK\r\n")  # the password is right
                connection.recv(1000)
                connection.sendall(b"$1000\r\n")
                while not self._closed.wait(0.05):
                    connection.sendall(b"x")

    def close(self) -> None:
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def test_an_answer_that_never_ends(registry: Server, redis: Redis, pushed: Image) -> None:
    """Each byte arrives before its timeout, but the whole answer does not."""
    log = Log(registry)
    redis.kill()
    slow = Slow(redis.port)
    try:
        ask_until(registry, pushed, log, OFF)
        end = time.monotonic() + _WAIT
        while slow.taken < 2:
            assert time.monotonic() < end
            ask(registry, pushed)
            time.sleep(0.05)
    finally:
        slow.close()
        redis.start()
    ask_until(registry, pushed, log, ON)
    assert log.count(OFF) == 1


def test_redis_is_unreachable_at_the_start(redis: Redis, store) -> None:
    redis.kill()
    try:
        with Server(store, env={**redis.env, "CACHE_MEMORY": "0"}) as server:
            log = Log(server)
            pushed = image("gone at the start")
            engine.upload(server, pushed)
            ask(server, pushed)
            assert server.log.count(OFF) == 1
            redis.start()
            ask_until(server, pushed, log, ON)
            ask(server, pushed)
            assert is_shared(redis, pushed)
    finally:
        redis.kill()
        redis.start()
