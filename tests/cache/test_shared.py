"""Two registries on one store and one Redis: what they share, and what they must not share."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis as Client

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import Image, image
from tests.redisserver import Redis
from tests.waiting import wait_for

# as 0.x's cache_lru leaves them: `cache_path:`, the root, the path
ROOT_OF_0X = "/tmp/registry"
PASSWORD = "correct horse"


@dataclass
class Pair:
    """Registries: `one` and `other` also cache images in memory, `bare` does not."""

    one: Server
    other: Server
    bare: Server
    redis: Redis
    values: Client

    @property
    def images(self) -> Path:
        return self.one.store / "images"

    def keys(self, image: Image) -> list[str]:
        return [key for key in self.redis.all_keys() if key.endswith(image.id) and "image:" in key]

    def hide(self, image: Image) -> None:
        """Delete everything but the layer from the store."""
        for part in ("json", "ancestry", "_checksum", "_commit"):
            (self.images / image.id / part).unlink()


@pytest.fixture(scope="module")
def pair(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    store = tmp_path_factory.mktemp("shared") / "store"
    redis.password = PASSWORD
    redis("CONFIG", "SET", "requirepass", PASSWORD)
    lru = {name.replace("CACHE_", "CACHE_LRU_"): value for name, value in redis.env.items()}
    with (
        Client(unix_socket_path=str(redis.socket), password=PASSWORD) as values,
        Server(store, env=redis.env) as one,
        Server(store, env=lru) as other,
        Server(store, env={**redis.env, "CACHE_MEMORY": "0"}) as bare,
    ):
        yield Pair(one, other, bare, redis, values)


def parts(server: Server, image: Image, headers: dict[str, str] | None = None) -> list[object]:
    """Return the answers about an image, without the headers that change with time."""
    found: list[object] = []
    for part in ("json", "ancestry"):
        answer = raw.get(server, image.path(part), headers or {})
        kept = [(k, v) for k, v in answer.headers if k not in ("Date", "Expires", "X-Request-Id")]
        found.append((answer.status, sorted(kept), answer.body))
    return found


def test_a_registry_finds_what_the_other_has_read(pair: Pair) -> None:
    base = image("shared-base")
    child = image("shared-child", base)
    for each in (base, child):
        engine.upload(pair.one, each)
    expected = parts(pair.one, child)
    status, headers, body = expected[0]
    assert (status, body) == (200, child.json)
    assert ("X-Docker-Checksum-Payload", child.checksum) in headers
    assert ("X-Docker-Size", str(len(child.layer))) in headers
    pair.hide(child)
    assert parts(pair.bare, child) == expected
    assert parts(pair.other, child) == expected
    assert raw.get(pair.other, child.path("layer")).body == child.layer
    # The values came from Redis.
    for key in pair.keys(child):
        pair.redis("DEL", key)
    assert raw.get(pair.bare, child.path("json")).status == 404
    assert parts(pair.other, child) == expected  # from its own memory


def test_keys_have_a_prefix_for_the_store_and_a_lifetime_and_a_size_limit(pair: Pair) -> None:
    small = image("size-small")
    large = image("size-large")
    large = Image(large.id, json.dumps({"id": large.id, "x": "x" * 300_000}).encode(), b"l", ())
    for each in (small, large):
        engine.upload(pair.one, each)
        for server in (pair.one, pair.other, pair.bare):
            assert raw.get(server, each.path("json")).body == each.json
    assert pair.keys(large) == []  # more than 256 KiB
    [key] = pair.keys(small)
    assert re.fullmatch(rf"v1registry:[0-9a-f]{{16}}:image:{small.id}", key)
    assert 3500 < int(pair.redis("TTL", key)) <= 3600
    assert 200 < int(pair.redis("MEMORY", "USAGE", key)) < 2000
    prefix = key.removesuffix(f"image:{small.id}")
    assert f"database 0 is the shared cache, under {prefix}*" in pair.one.log
    secret = (pair.one.store / "_v1registry" / "cache-secret").read_text()
    assert key.split(":")[1] not in secret


def test_another_store_shares_nothing(pair: Pair, tmp_path: Path) -> None:
    """Not with a prefix of its own, not with the same prefix, and not as a copy at another path."""
    pushed = image("other-store")
    engine.upload(pair.one, pushed)
    [key] = pair.keys(pushed)
    prefix = key.removesuffix(f"image:{pushed.id}")
    shutil.copytree(pair.one.store / "_v1registry", tmp_path / "copy" / "_v1registry")
    for folder, more in (("empty", {}), ("copy", {}), ("same", {"CACHE_PREFIX": prefix})):
        with Server(tmp_path / folder, env={**pair.redis.env, **more}) as server:
            assert raw.get(server, pushed.path("json")).status == 404
    assert raw.get(pair.bare, pushed.path("json")).status == 200


def test_a_read_only_node_shares_too(pair: Pair) -> None:
    pushed = image("read-only")
    engine.upload(pair.one, pushed)
    expected = parts(pair.one, pushed)
    pair.hide(pushed)
    with Server(pair.one.store, env={**pair.redis.env, "READ_ONLY": "true"}) as server:
        assert parts(server, pushed) == expected


def test_only_complete_images_are_shared(pair: Pair) -> None:
    pushed = image("open")
    engine.expect(raw.put(pair.one, pushed.path("json"), pushed.json))
    for server in (pair.one, pair.other, pair.bare):
        assert raw.get(server, pushed.path("json")).status == 400
    assert raw.get(pair.other, image("unknown").path("json")).status == 404
    assert pair.keys(pushed) == []
    engine.expect(raw.put(pair.other, pushed.path("layer"), pushed.layer))
    checksum = {"X-Docker-Checksum-Payload": pushed.checksum}
    engine.expect(raw.put(pair.one, pushed.path("checksum"), headers=checksum))
    assert len(pair.keys(pushed)) == 1
    for server in (pair.one, pair.other, pair.bare):
        assert raw.get(server, pushed.path("json")).body == pushed.json
        assert raw.put(server, pushed.path("json"), pushed.json).status == 409


def test_tags_and_lists_are_never_stale(pair: Pair) -> None:
    first, second = image("tag-first"), image("tag-second")
    here = "/v1/repositories/nodes/app"
    engine.push(pair.one, "nodes/app", [first], ["latest"])
    engine.upload(pair.one, second)
    servers = (pair.one, pair.other, pair.bare)
    for turn in range(6):
        writer, wanted = servers[turn % 3], (first, second)[turn % 2]
        engine.expect(raw.put(writer, f"{here}/tags/latest", engine.quoted(wanted.id)))
        engine.expect(raw.put(writer, f"{here}/tags/t{turn}", engine.quoted(wanted.id)))
        tags = {"latest": wanted.id}
        tags |= {f"t{past}": (first, second)[past % 2].id for past in range(turn + 1)}
        for server in servers:
            assert raw.get(server, f"{here}/tags").json() == tags
            assert raw.get(server, f"{here}/tags/latest").json() == wanted.id
    listed = json.dumps([{"id": second.id}]).encode()
    engine.expect(raw.put(pair.other, f"{here}/", listed))
    for server in servers:
        ids = {item["id"] for item in raw.get(server, f"{here}/images").json()}
        assert ids == {first.id, second.id}
        raw.get(server, "/v1/search?q=nodes")  # now it keeps the names
    engine.expect(raw.request(pair.other, "DELETE", f"{here}/tags/t0"))
    for server in servers:
        assert raw.get(server, f"{here}/tags/t0").status == 404
    engine.expect(raw.request(pair.bare, "DELETE", f"{here}/"))
    for server in servers:
        assert raw.get(server, f"{here}/tags").status == 404

    def gone() -> bool:
        answers = [raw.get(server, "/v1/search?q=nodes") for server in servers]
        return not any(b"nodes/app" in answer.body for answer in answers)

    wait_for(gone, 10 + 2)  # what the documents say, and the time to ask
    assert not [key for key in pair.redis.all_keys() if "nodes" in key or "tag" in key]


def test_cache_headers_depend_on_the_client(pair: Pair) -> None:
    pushed = image("private")
    engine.upload(pair.one, pushed)
    pair.hide(pushed)
    secret = {"Authorization": "Basic dXNlcjpzZWNyZXQ="}
    for headers, scope in (({}, "public"), (secret, "private"), ({}, "public")):
        answer = raw.get(pair.bare, pushed.path("json"), headers)
        assert answer.body == pushed.json
        assert answer.header("Cache-Control") == f"{scope}, max-age=31536000"


def test_values_of_0x_in_redis_are_unchanged(pair: Pair) -> None:
    pushed = image("beside-0x")
    paths = [f"images/{pushed.id}/{part}" for part in ("json", "ancestry", "layer", "_checksum")]
    paths += ["repositories/beside/old/tag_latest", "repositories/beside/old/_index_images"]
    old = {f"cache_path:{root}{path}": b"of 0.x"
           for root in (ROOT_OF_0X, str(pair.one.store), "", "/") for path in paths}  # fmt: skip
    pair.values.mset(old)
    pair.values.rpush("diff-worker", json.dumps({"image_id": pushed.id}))
    engine.push(pair.one, "beside/old", [pushed], ["latest"])
    for server in (pair.one, pair.other, pair.bare):
        assert raw.get(server, pushed.path("json")).body == pushed.json
        assert raw.get(server, "/v1/repositories/beside/old/tags/latest").json() == pushed.id
    assert {key.decode(): pair.values.get(key) for key in pair.values.keys("cache_path:*")} == old
    assert {pair.values.ttl(key) for key in old} == {-1}
    assert pair.values.llen("diff-worker") == 1
    ours = [
        key for key in pair.redis.all_keys() if not key.startswith(("cache_path:", "diff-worker"))
    ]
    assert all(key.startswith("v1registry:") for key in ours)


GARBAGE = {
    "empty": lambda value, other: b"",
    "text": lambda value, other: b"garbage",
    "JSON": lambda value, other: b'{"id": "x"}',
    "cut": lambda value, other: value[:-1],
    "longer": lambda value, other: value + b"x",
    "one bit": lambda value, other: value[:-1] + bytes([value[-1] ^ 1]),
    "other form": lambda value, other: value.replace(b"image 1", b"image 2"),
    "other image": lambda value, other: other,
    "other JSON": lambda value, other: value.replace(b"comment", b"COMMENT"),
    "huge": lambda value, other: b"x" * 5_000_000,
    "list": lambda value, other: None,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_damaged_values_are_not_served_and_are_replaced(pair: Pair, kind: str) -> None:
    pushed, another = image(f"garbage {kind}"), image(f"garbage beside {kind}")
    engine.upload(pair.one, pushed)
    engine.upload(pair.one, another)
    [key] = pair.keys(pushed)
    [other] = pair.keys(another)
    expected = parts(pair.one, pushed)
    value = pair.values.get(key)
    garbage = GARBAGE[kind](value, pair.values.get(other))
    pair.values.delete(key)
    if garbage is None:
        pair.values.rpush(key, b"x")
    elif garbage:
        pair.values.set(key, garbage)
    else:
        pair.values.set(key, b"")
    assert garbage != value
    assert parts(pair.bare, pushed) == expected
    assert pair.values.get(key) == value
    assert 0 < pair.values.ttl(key) <= 3600
    assert raw.get(pair.bare, another.path("json")).body == another.json


def test_redis_is_flushed_while_in_use(pair: Pair) -> None:
    pushed = image("flushed")
    engine.upload(pair.one, pushed)
    for _ in range(5):
        pair.redis("FLUSHALL")
        assert raw.get(pair.bare, pushed.path("json")).body == pushed.json
        assert len(pair.keys(pushed)) == 1


def test_status_names_redis(pair: Pair) -> None:
    for server in (pair.one, pair.other, pair.bare):
        for path in ("/_status", "/v1/_status"):
            answer = raw.get(server, path)
            assert answer.status == 200
            body = answer.json()
            assert body == {"services": ["redis", "storage"], "failures": {}, "host": ""}


def test_no_log_contains_the_password(pair: Pair) -> None:
    for server in (pair.one, pair.other, pair.bare):
        assert PASSWORD not in server.log
        assert "is not used for now" not in server.log
