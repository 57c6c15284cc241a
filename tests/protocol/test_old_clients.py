"""Engines 0.6 to 0.10, of which there are no recordings: played from protocol-v1.md 3 and 7.

Each checks of the answers what that version checks, and nothing later versions brought.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass

import pytest

from tests import raw
from tests.live_server import Server
from tests.oldregistry import OldRegistry
from tests.protocol import engine
from tests.protocol.engine import Image
from tests.protocol.tarsum import tarsum


@dataclass(frozen=True)
class Engine:
    """One version, by what it does differently."""

    version: str
    last_only: bool = False  # TarSum takes the last of entries with one name (0.7.3)
    tags_ancestors: bool = True  # and sends checksums in the last request; until 0.7
    payload: str = ""  # "": header not sent; "tar": of the bare tar (0.9); "simple" (0.10)
    needs_size: bool = True  # X-Docker-Size must be a number; until 0.10

    @property
    def agent(self) -> dict[str, str]:
        return {
            "User-Agent": f"docker/{self.version} go/go1.2 git-commit/abc kernel/3.8.0 os/linux"
        }

    def __str__(self) -> str:
        return self.version


ENGINES = [
    Engine("0.6.0"),
    Engine("0.7.0"),
    Engine("0.7.6", last_only=True),
    Engine("0.8.1", last_only=True, tags_ancestors=False),
    Engine("0.9.1", last_only=True, tags_ancestors=False, payload="tar"),
    Engine("0.10.0", last_only=True, tags_ancestors=False, payload="simple"),
    Engine("0.11.1", last_only=True, tags_ancestors=False, payload="simple", needs_size=False),
]


@dataclass(frozen=True)
class Layered:
    """An image with the tar that its layer compresses."""

    image: Image
    tar: bytes


def _images(version: str) -> list[Layered]:
    """Three images, base first. The second has one name twice, and no end of the tar (until 1.2)."""
    found: list[Layered] = []
    for number in range(3):
        files = {f"f{number}": f"{version} {number}".encode() * 50, "empty": b""}
        tar = engine.tar(files)
        if number == 1:
            tar = engine.tar({"f": b"first"})[: 2 * 512] + engine.tar({"f": b"second"})[: 2 * 512]
        parent = found[-1].image if found else None
        layer = gzip.compress(tar, mtime=0)
        found.append(Layered(engine.image(f"{version} {number}", parent, layer), tar))
    return found


@pytest.fixture(params=ENGINES, ids=str)
def old(request: pytest.FixtureRequest) -> Engine:
    return request.param


def test_push_and_pull(server: Server, old: Engine) -> None:
    name = f"old/app{old.version.replace('.', '')}"
    images = _images(old.version)
    _ping(server, old)
    _push(server, old, name, images)
    _pull(server, old, name, images)
    assert OldRegistry(server.store).problems() == []


def test_second_push_of_known_images(server: Server, old: Engine) -> None:
    """Images that are there are skipped; the tags and the last request come as ever."""
    name = f"old/again{old.version.replace('.', '')}"
    images = _images(f"{old.version} again")
    _push(server, old, name, images)
    assert _push(server, old, name, images) == 0
    _pull(server, old, name, images)


def test_wrong_checksum_is_refused(server: Server, old: Engine) -> None:
    """Neither header right: 400, and the image stays open until the right one comes."""
    made = _images(f"{old.version} wrong")[0]
    path = made.image.path
    headers = _checksums(old, made)
    wrong = {
        name: value[:-1] + ("0" if value[-1] != "0" else "1") for name, value in headers.items()
    }
    engine.expect(raw.put(server, path("json"), made.image.json, old.agent))
    engine.expect(raw.put(server, path("layer"), made.image.layer, old.agent, chunk=32768))
    answer = raw.put(server, path("checksum"), b"", {**old.agent, **wrong})
    assert (answer.status, answer.json()) == (400, {"error": "Checksum mismatch"})
    assert raw.get(server, path("json")).status == 400
    engine.expect(raw.put(server, path("checksum"), b"", {**old.agent, **headers}))
    assert raw.get(server, path("json")).body == made.image.json


def test_the_vector_of_section_3(server: Server) -> None:
    """The published sums: of this file's TarSum, and of the server's, in both versions."""
    json_bytes = b'{"id":"' + b"a" * 64 + b'"}'
    tar = _vector()
    v0, v1 = tarsum(json_bytes, tar), tarsum(json_bytes, tar, v1=True)
    assert v0 == ("tarsum+sha256:523f1f3a8ef64306bd6f844bdaf39fb3f3e10744afa1960bf8f22db3300a83d2")
    assert v1 == (
        "tarsum.v1+sha256:609fc26ef38de1b17e81a22f28a49aa861c35c77bf45d2632226c1d083bc2e60"
    )
    made = Image("a" * 64, json_bytes, gzip.compress(tar), ("a" * 64,))
    engine.expect(raw.put(server, made.path("json"), json_bytes))
    engine.expect(raw.put(server, made.path("layer"), made.layer))
    for value in (v0, v1):  # the second time it is finished already, and still right
        engine.expect(raw.put(server, made.path("checksum"), b"", {"X-Docker-Checksum": value}))


@pytest.mark.parametrize("last_only", [False, True])
def test_either_way_to_count_a_name_twice(server: Server, last_only: bool) -> None:
    tar = engine.tar({"f": b"1" * 700})[: 3 * 512] + engine.tar({"g": b"", "f": b"2"})
    made = engine.image(f"twice {last_only}", layer=gzip.compress(tar))
    value = tarsum(made.json, tar, last_only=last_only)
    assert value != tarsum(made.json, tar, last_only=not last_only)
    engine.expect(raw.put(server, made.path("json"), made.json))
    engine.expect(raw.put(server, made.path("layer"), made.layer))
    engine.expect(raw.put(server, made.path("checksum"), b"", {"X-Docker-Checksum": value}))


def test_a_layer_that_is_no_tar(server: Server) -> None:
    """There the original's tarsum covered the JSON alone (section 3), and so said nothing about the
    layer's bytes: it is no proof of them here. The simple checksum is, for any bytes."""
    made = engine.image("no tar", layer=b"neither gzip nor tar" * 100)
    value = "tarsum+sha256:" + hashlib.sha256(made.json).hexdigest()
    engine.expect(raw.put(server, made.path("json"), made.json))
    engine.expect(raw.put(server, made.path("layer"), made.layer))
    refused = raw.put(server, made.path("checksum"), b"", {"X-Docker-Checksum": value})
    assert (refused.status, refused.json()) == (400, {"error": "Checksum mismatch"})
    both = {"X-Docker-Checksum": value, "X-Docker-Checksum-Payload": made.checksum}
    engine.expect(raw.put(server, made.path("checksum"), b"", both))


# -- what the engines do ---------------------------------------------------------------


def _ping(server: Server, old: Engine) -> None:
    answer = engine.expect(raw.get(server, "/v1/_ping", old.agent))
    assert (answer.header("X-Docker-Registry-Version") or "").strip()
    standalone = answer.header("X-Docker-Registry-Standalone")
    assert standalone is None or standalone.lower() in ("true", "1")


def _push(server: Server, old: Engine, name: str, images: list[Layered]) -> int:
    """Return how many images were sent."""
    listed = [{"id": made.image.id} for made in images]
    listed[-1]["Tag"] = "latest"
    token = _index(server, old, "PUT", f"/v1/repositories/{name}/", listed, (200, 201))
    sent = 0
    for made in images:
        sent += _push_image(server, {**old.agent, **token}, old, made)
        if old.tags_ancestors or made is images[-1]:
            path = f"/v1/repositories/{name}/tags/latest"
            tag = raw.put(server, path, engine.quoted(made.image.id), {**old.agent, **token})
            assert tag.status == 200, str(tag)
    final: list[dict[str, str]] = []
    if old.tags_ancestors:
        final = [
            {"id": made.image.id, "checksum": _checksums(old, made)["X-Docker-Checksum"]}
            for made in images
        ]
    _index(server, old, "PUT", f"/v1/repositories/{name}/images", final, (204,))
    return sent


def _push_image(server: Server, headers: dict[str, str], old: Engine, made: Layered) -> int:
    path = made.image.path
    if raw.get(server, path("json"), headers).status == 200:
        return 0
    answer = raw.put(server, path("json"), made.image.json, headers)
    assert answer.status == 200, str(answer)
    answer = raw.put(server, path("layer"), made.image.layer, headers, chunk=32768)
    assert answer.status == 200, str(answer)
    answer = raw.put(server, path("checksum"), b"", {**headers, **_checksums(old, made)})
    assert answer.status == 200, str(answer)
    return 1


def _checksums(old: Engine, made: Layered) -> dict[str, str]:
    value = tarsum(made.image.json, made.tar, last_only=old.last_only)
    headers = {"X-Docker-Checksum": value}
    if old.payload == "tar":
        headers["X-Docker-Checksum-Payload"] = "sha256:" + hashlib.sha256(made.tar).hexdigest()
    if old.payload == "simple":
        headers["X-Docker-Checksum-Payload"] = made.image.checksum
    return headers


def _pull(server: Server, old: Engine, name: str, images: list[Layered]) -> None:
    token = _index(server, old, "GET", f"/v1/repositories/{name}/images", None, (200,))
    headers = {**old.agent, **token}
    tags = engine.expect(raw.get(server, f"/v1/repositories/{name}/tags", headers)).json()
    assert all(isinstance(value, str) for value in tags.values())
    top = tags["latest"]
    assert top == images[-1].image.id
    ancestry = engine.expect(raw.get(server, f"/v1/images/{top}/ancestry", headers)).json()
    assert ancestry == list(images[-1].image.ancestry)
    by_id = {made.image.id: made for made in images}
    for each in reversed(ancestry):
        answer = engine.expect(raw.get(server, f"/v1/images/{each}/json", headers))
        assert answer.body == by_id[each].image.json
        if old.needs_size:
            size = answer.header("X-Docker-Size")
            assert size is not None
            assert size.isdigit()
            assert int(size) == len(by_id[each].image.layer)
        layer = engine.expect(raw.get(server, f"/v1/images/{each}/layer", headers))
        assert layer.body == by_id[each].image.layer


def _index(
    server: Server, old: Engine, method: str, path: str, body: object, statuses: tuple[int, ...]
) -> dict[str, str]:
    """A request to the index; returns the header with the token that it gave."""
    asks = {**old.agent, "X-Docker-Token": "true", "Authorization": "Basic Og=="}
    data = None if body is None else json.dumps(body).encode()
    answer = raw.request(server, method, path, asks, data)
    assert answer.status in statuses, str(answer)
    # one endpoint a header line; the scheme is the client's to add
    assert answer.all("X-Docker-Endpoints") == [server.host]
    token = answer.header("X-Docker-Token")
    assert token
    return {"Authorization": f"Token {token}"}


def _vector() -> bytes:
    def block(name: bytes, mode: bytes, uid: int, size: int, mtime: int, kind: bytes, link: bytes,
              owner: bytes, group: bytes) -> bytes:  # fmt: skip
        fields = [
            name.ljust(100, b"\0"), mode.rjust(7, b"0") + b"\0", b"%07o\0" % uid, b"%07o\0" % uid,
            b"%011o\0" % size, b"%011o\0" % mtime, b" " * 8, kind, link.ljust(100, b"\0"),
            b"ustar\x0000", owner.ljust(32, b"\0"), group.ljust(32, b"\0"), b"0000000\0",
            b"0000000\0",
        ]  # fmt: skip
        header = bytearray(b"".join(fields).ljust(512, b"\0"))
        header[148:156] = b"%06o\0 " % sum(header)
        return bytes(header)

    return b"".join([
        block(b"d/", b"755", 0, 0, 1400000000, b"5", b"", b"root", b"root"),
        block(b"d/a", b"644", 1000, 6, 1400000001, b"0", b"", b"u", b"g"),
        b"hello\n".ljust(512, b"\0"),
        block(b"d/l", b"777", 0, 0, 1400000002, b"2", b"a", b"", b""),
        bytes(1024),
    ])  # fmt: skip
