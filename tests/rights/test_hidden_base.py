"""A base image that is hidden from the second account which pushes it, with another engine.

Each engine writes the image's JSON and layer anew, so the second push differs in its bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from tests import raw
from tests.backends.ceph import Ceph
from tests.fixtures import engines
from tests.index.conftest import PASSWORD
from tests.index.engines import Engine
from tests.index.test_server import seeded_file
from tests.lib.tars import END, header
from tests.live_server import Server
from tests.needs import needs
from tests.protocol.engine import Image, expect, image
from tests.rights.accounts import Client, basic, environment, password_file

RULES = [{"who": "users", "repositories": "{user}/*", "allow": ["pull", "push"]}]

PAIRS = list(itertools.product(engines.VERSIONS, repeat=2))


class Pusher(Protocol):
    def push(self, repository: str, images: list[Image], tag: str = "latest") -> list[str]: ...
    def pull(self, repository: str, tag: str = "latest") -> dict[str, bytes]: ...


class Site:
    """A server with two accounts that cannot read each other's repositories."""

    def __init__(self, server: Server, pusher: Callable[[str], Pusher]) -> None:
        self.server = server
        self.first, self.second = pusher("reader"), pusher("other")

    def json_for(self, user: str, password: str, one: Image) -> raw.Answer:
        return raw.get(self.server, one.path("json"), basic(user, password))


@pytest.fixture(scope="module", params=["accounts with rules", "own index"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    if request.param == "own index":
        env = {
            "INDEX_DATABASE": seeded_file(folder),
            "INDEX_PRIVATE": "true",
            "ACCOUNTS_ATTEMPTS": "0",
        }
    else:
        env = environment(password_file(folder, ["reader", "other"], PASSWORD), RULES)
    with Server(folder / "store", workers=1, env=env) as server:

        def pusher(user: str) -> Pusher:
            if request.param == "own index":
                return Engine([server], user, PASSWORD)
            return Client(server, basic(user, PASSWORD))

        yield Site(server, pusher)


def sent_by(version: str, word: str) -> Image:
    """The image as an engine sent it, under another id. `word` determines the id."""
    id = hashlib.sha256(f"{word} {engines.id_of(version)}".encode()).hexdigest()
    return Image(id, engines.json_of(version, id), engines.layer_of(version), (id,))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_another_engine_pushes_the_hidden_base(site: Site, first: str, second: str) -> None:
    one, other = (sent_by(version, f"{first} {second}") for version in (first, second))
    assert site.first.push(f"reader/{first}-{second}", [one]) == [one.id]
    assert site.json_for("other", PASSWORD, one).status == 404
    top = image(f"top of {first} {second}", other)
    name = f"other/{first}-{second}"
    assert site.second.push(name, [other, top]) == [other.id, top.id]
    # the first copy stays; Docker 1.10 and later give the image another id
    kept = one if one.id == other.id else other
    assert site.second.pull(name) == {other.id: kept.layer, top.id: top.layer}
    assert site.first.pull(f"reader/{first}-{second}") == {one.id: one.layer}
    again = image(f"again on {first} {second}", other)
    assert site.second.push(name, [other, again], "again") == [again.id]


@needs("ceph")
def test_another_engine_pushes_the_hidden_base_to_s3(ceph: Ceph, tmp_path: Path) -> None:
    """S3 cannot read an unfinished upload, so the second copy is compared while it is received."""
    file = password_file(tmp_path, ["reader", "other"], PASSWORD)
    env = {**environment(file, RULES), **ceph.environ(STORAGE_PATH=f"/{secrets.token_hex(8)}")}
    with Server(tmp_path / "unused", env=env) as server:
        first, second = (Client(server, basic(user, PASSWORD)) for user in ("reader", "other"))
        one, other = sent_by("1.8.3", "s3"), sent_by("1.5.0", "s3")
        first.push("reader/base", [one])
        assert second.push("other/base", [other]) == [other.id]
        assert second.pull("other/base") == {one.id: one.layer}
        # both at the same time: neither is complete when the other sends its layer
        one, other = sent_by("1.0.1", "s3 at once"), sent_by("1.6.2", "s3 at once")
        pushes = ((first, one), (second, other))
        for client, image in pushes:
            expect(client.ask("PUT", image.path("json"), image.json))
        for client, image in pushes:
            expect(raw.put(server, image.path("layer"), image.layer, client.headers))
        for client, image in pushes:
            client.finish(image)
        first.tag("reader/at-once", one.id)
        second.tag("other/at-once", other.id)
        assert expect(second.ask("GET", one.path("layer"))).body == one.layer
        # another layer, at the same time
        one, other = sent_by("1.0.1", "s3 other"), sent_by("1.6.2", "s3 other")
        other = replace(other, layer=gzip.compress(gzip.decompress(other.layer) + b"guess"))
        pushes = ((first, one), (second, other))
        for client, image in pushes:
            expect(client.ask("PUT", image.path("json"), image.json))
            expect(raw.put(server, image.path("layer"), image.layer, client.headers))
        first.finish(one)
        second.finish(other, 400)


@pytest.mark.parametrize("what", ["behind the archive", "beside the archive", "in the JSON"])
def test_a_base_image_stays_hidden_from_a_user_with_other_bytes(site: Site, what: str) -> None:
    known = sent_by("1.6.2", what)
    layer, data = known.layer, known.json
    if what == "behind the archive":
        layer = gzip.compress(gzip.decompress(layer) + b"secret")
    elif what == "beside the archive":
        layer += b"secret"
    else:
        document = json.loads(data)
        document["container_config"]["Volumes"] = {"/secret": {}}
        data = json.dumps(document).encode()
    stored = Image(known.id, data, layer, known.ancestry)
    name = what.replace(" ", "-").lower()
    site.first.push(f"reader/{name}", [stored])
    for version in ("1.0.1", "1.3.3", "1.6.2", "1.8.3"):
        with pytest.raises(AssertionError, match="Checksum mismatch"):
            site.second.push(f"other/{name}", [sent_by(version, what)])
    assert site.json_for("other", PASSWORD, known).status == 404
    assert site.second.push(f"other/{name}", [stored]) == [stored.id]
    assert site.second.pull(f"other/{name}") == {stored.id: stored.layer}


def test_other_clients_are_answered_while_a_layer_is_compared(site: Site) -> None:
    """A few bytes that decompress to many, which the server must all hash."""
    size = 200 << 20
    layer = gzip.compress(header(b"f", size) + bytes(size) + END, 1)
    id = hashlib.sha256(b"a large base").hexdigest()
    one = Image(id, json.dumps({"id": id}).encode(), layer, (id,))
    site.first.push("reader/large", [one])
    waits, is_over = [], threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            start = time.monotonic()
            assert raw.get(site.server, "/v1/_ping").status == 200
            waits.append(time.monotonic() - start)

    asking = threading.Thread(target=ask)
    start = time.monotonic()
    asking.start()
    site.second.push("other/large", [one])
    took = time.monotonic() - start
    is_over.set()
    asking.join()
    assert max(waits) < took / 3
