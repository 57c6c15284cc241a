"""A whole registry whose store's answers change on their way, by chance: what clients get with 200 is
right, and what a push has finished is what was pushed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest

from tests import raw
from tests.backends.corrupting import Corrupting
from tests.backends.proxy import Proxy
from tests.faults.engine import Engine, PushedImage, make_image, make_tar, squeeze
from tests.live_server import Server
from tests.protocol.places import PLACES, Place

MIB = 1024 * 1024
_TRIES = 40


@pytest.fixture(scope="module", params=["s3", pytest.param("swift", marks=pytest.mark.heavy)])
def place(request: pytest.FixtureRequest) -> Place:
    kind = PLACES[request.param]
    return kind(request.getfixturevalue(kind.backend))


@pytest.fixture(scope="module")
def servers(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server, Proxy]]:
    """Two registries on one store. The second uses a proxy and verifies layers."""
    folder = tmp_path_factory.mktemp("damaged")
    own = {"CACHE_MEMORY": "0", "VERIFY_LAYERS": "true"}
    with Proxy(place.port) as proxy:
        behind = {**own, **place.behind(proxy)}
        with (
            place.server(folder, CACHE_MEMORY="0") as good,
            place.server(folder, **behind) as bad,
        ):
            yield good, bad, proxy


def try_all(steps: list[Callable[[], raw.Answer]]) -> int:
    """Repeat each step until it succeeds; return the number of failures."""
    failed = 0
    for step in steps:
        for _ in range(_TRIES):
            answer = step()
            if answer.status in (200, 409):
                break
            failed += 1
            assert answer.status >= 400, str(answer)
        else:
            raise AssertionError(f"never: {answer}")
    return failed


def images(name: str) -> list[PushedImage]:
    base = make_image(f"{name}-base", squeeze(make_tar(21, 3 * MIB), 0))
    return [base, make_image(f"{name}-top", squeeze(make_tar(22, 1000), 0), base)]


@pytest.mark.parametrize("where", ["head", "body", "status"])
def test_a_push_stores_the_sent_bytes(servers: tuple[Server, Server, Proxy], where: str):
    good, bad, proxy = servers
    engine, pushed = Engine(bad, f"x/{where}"), images(where)
    proxy.change = Corrupting(31, 0.04, where)
    for image in pushed:
        try_all(
            [
                lambda image=image: engine.put_json(image),
                lambda image=image: engine.put_layer(image),
                lambda image=image: engine.put_checksum(image),
            ]
        )
    proxy.change = None
    for image in pushed:
        found = raw.get(good, f"/v1/images/{image.id}/json")
        assert (found.status, found.body) == (200, image.json)
        assert raw.get(good, f"/v1/images/{image.id}/layer").body == image.layer
        assert raw.get(good, f"/v1/images/{image.id}/ancestry").json()[0] == image.id


@pytest.mark.parametrize("where", ["head", "body", "status"])
def test_successful_responses_are_correct(servers: tuple[Server, Server, Proxy], where: str):
    good, bad, proxy = servers
    pushed = images(f"pull-{where}")
    Engine(good, f"x/pull-{where}").push(pushed, "v1")
    top = pushed[-1]
    paths = {
        f"/v1/images/{top.id}/json": top.json,
        f"/v1/images/{top.id}/ancestry": None,
        f"/v1/images/{top.id}/layer": top.layer,
        f"/v1/images/{pushed[0].id}/layer": pushed[0].layer,
        f"/v1/repositories/x/pull-{where}/tags/v1": None,
    }
    right = {path: known or raw.get(good, path).body for path, known in paths.items()}
    proxy.change = Corrupting(32, 0.2, where)
    for path, body in right.items():
        for _ in range(2):
            try:
                answer = raw.get(bad, path)
            except raw.Malformed:
                continue  # the connection ended in the middle
            assert answer.status != 200 or answer.body == body
            if answer.status == 503:
                assert answer.header("Retry-After") == "5"
    assert proxy.change.changed
    proxy.change = None
    for path, body in right.items():
        assert raw.get(bad, path).body == body


def test_a_damaged_layer_is_never_sent_completely(
    servers: tuple[Server, Server, Proxy], place: Place
):
    """With `verify_layers`. Without it, the registry sends the stored bytes."""
    good, bad, _ = servers
    image = make_image("damaged", squeeze(make_tar(23, MIB), 0))
    Engine(good, "x/damaged").push([image], "v1")
    key, path = f"images/{image.id}/layer", f"/v1/images/{image.id}/layer"
    other = bytearray(image.layer)
    other[500_000] ^= 1
    place.put(key, bytes(other))
    with pytest.raises(raw.Malformed, match="before the end"):
        raw.get(bad, path)
    assert raw.get(good, path).body == bytes(other)
    log = bad.log
    assert "do not match the image's checksum" in log
    part = raw.get(bad, path, headers={"Range": "bytes=0-99"})
    assert (part.status, part.body) == (206, image.layer[:100])
    place.put(key, image.layer)
    answer = raw.get(bad, path)
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(image.layer).digest()
