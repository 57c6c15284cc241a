"""Stores in the forms that versions before 0.9.1 wrote (protocol-v1.md section 4), and half pushes.

The tests share a server and write into its store by hand; each has images of its own.
"""

from __future__ import annotations

import gzip
import json
from typing import NamedTuple

import pytest

from tests import raw
from tests.live_server import Server
from tests.oldregistry import OldRegistry
from tests.protocol import engine, seed
from tests.protocol.engine import Image, image


class Family(NamedTuple):
    """Three images, each the parent of the next."""

    base: Image
    child: Image
    top: Image


@pytest.fixture
def family(request: pytest.FixtureRequest) -> Family:
    word = request.node.name
    base = image(f"{word} base")
    child = image(f"{word} child", base)
    return Family(base, child, image(f"{word} top", child))


def _served(server: Server, made: engine.Image) -> raw.Answer:
    answer = raw.get(server, made.path("json"))
    assert (answer.status, answer.body) == (200, made.json), str(answer)
    assert raw.get(server, made.path("layer")).body == made.layer
    assert raw.get(server, made.path("ancestry")).json() == list(made.ancestry)
    return answer


@pytest.mark.parametrize(
    ("stored", "header"),
    [
        ('["sha256:{0}", "tarsum+sha256:{0}"]', ["sha256:{0}", "tarsum+sha256:{0}"]),
        ('"sha256:{0}"', ["sha256:{0}"]),
        ("sha256:{0}", ["sha256:{0}"]),  # R <= 0.6.9
        ("sha256:{0}\n", ["sha256:{0}"]),  # create_ancestry.py
        ("tarsum+sha256:{0}\n", ["tarsum+sha256:{0}"]),
        ("[]", []),
        ("", []),
        (None, []),
    ],
)
def test_forms_of_the_checksum(
    server: Server, family: Family, stored: str | None, header: list[str]
) -> None:
    seed.image(server.store, family.base.json, family.base.layer, family.base.ancestry)
    if stored is not None:
        (server.store / "images" / family.base.id / "_checksum").write_text(stored.format("0" * 64))
    answer = _served(server, family.base)
    assert answer.all("X-Docker-Checksum-Payload") == [text.format("0" * 64) for text in header]


def test_missing_ancestry_is_made_from_the_parents(server: Server, family: Family) -> None:
    for made in (family.base, family.child, family.top):
        seed.image(
            server.store, made.json, made.layer, made.ancestry if made is family.base else None, []
        )
    assert raw.get(server, family.top.path("ancestry")).json() == list(family.top.ancestry)
    assert raw.get(server, family.child.path("ancestry")).json() == list(family.child.ancestry)
    under = image("under", family.top)
    engine.upload(server, under)
    assert raw.get(server, under.path("ancestry")).json() == list(under.ancestry)


def test_ids_of_sixteen_digits(server: Server, family: Family) -> None:
    short = "0123456789abcdef"
    data = json.dumps({"id": short}).encode()
    seed.image(server.store, data, b"layer", [short], ["sha256:" + "0" * 64])
    seed.tags(server.store / "repositories/old/short", {"latest": short})
    assert raw.get(server, f"/v1/images/{short}/json").body == data
    assert raw.get(server, f"/v1/images/{short}/layer").body == b"layer"
    assert raw.get(server, "/v1/repositories/old/short/tags").json() == {"latest": short}
    document = {"id": family.base.id, "parent": short}
    child = engine.Image(
        family.base.id, json.dumps(document).encode(), family.base.layer, (family.base.id, short)
    )
    engine.upload(server, child)
    assert OldRegistry(server.store).ancestry(child.id) == [child.id, short]


def test_names_encoded_once(server: Server, family: Family) -> None:
    """R <= 0.8.0 wrote `a/b%2Fc`: read there on a miss; written, it goes to 0.9.1's `a/b%252Fc`."""
    seed.image(
        server.store,
        family.base.json,
        family.base.layer,
        family.base.ancestry,
        [family.base.checksum],
    )
    older = server.store / "repositories/a/b%2Fc"
    seed.tags(older, {"latest": family.base.id, "v1": family.base.id})
    seed.image_list(older, [{"id": family.base.id}])
    path = "/v1/repositories/a/b/c"
    assert raw.get(server, f"{path}/tags").json() == {
        "latest": family.base.id,
        "v1": family.base.id,
    }
    assert raw.get(server, f"{path}/tags/v1").json() == family.base.id
    assert raw.get(server, f"{path}/images").json() == [{"id": family.base.id}]
    engine.push(server, "a/b/c", [family.base, family.child], ["v2"])
    assert sorted(OldRegistry(server.store).tags("a/b/c")) == ["v2"]
    assert sorted(raw.get(server, f"{path}/tags").json()) == ["latest", "v1", "v2"]
    assert {i["id"] for i in raw.get(server, f"{path}/images").json()} == {
        family.base.id,
        family.child.id,
    }
    engine.expect(raw.delete(server, f"{path}/tags/v1"))
    assert sorted(raw.get(server, f"{path}/tags").json()) == ["latest", "v2"]
    engine.expect(raw.delete(server, f"{path}/"))
    assert raw.get(server, f"{path}/tags").status == 404


def test_tags_encoded_by_no_version(server: Server, family: Family) -> None:
    """R <= 0.8.0 wrote `tag_${x}`: read, moved and deleted there; no tag of such a name is made."""
    engine.upload(server, family.base)
    engine.upload(server, family.child)
    folder = server.store / "repositories/old/plain"
    seed.tags(folder, {"${x}": family.base.id, "50%": family.base.id, "v1": family.base.id})
    path = "/v1/repositories/old/plain/tags"
    for tag, asked in (("${x}", "$%7Bx%7D"), ("50%", "50%25")):
        assert raw.get(server, path).json()[tag] == family.base.id
        assert raw.get(server, f"{path}/{asked}").json() == family.base.id
        assert raw.get(server, f"{path}/{asked}/json").status == 200
        engine.expect(raw.put(server, f"{path}/{asked}", engine.quoted(family.child.id)))
        assert raw.get(server, path).json()[tag] == family.child.id
        assert raw.get(server, f"{path}/{asked}").json() == family.child.id
        engine.expect(raw.delete(server, f"{path}/{asked}"))
        assert raw.get(server, f"{path}/{asked}").status == 404
        assert raw.put(server, f"{path}/{asked}", engine.quoted(family.base.id)).status == 400
    assert raw.get(server, path).json() == {"v1": family.base.id}


@pytest.mark.parametrize("data", [b"", b"garbage", b"{}"])
def test_unreadable_tags_are_no_tags(server: Server, family: Family, data: bytes) -> None:
    """Neither v1 nor v2 shows them; a push or a DELETE mends that."""
    engine.upload(server, family.base)
    name = f"old/bad{len(data)}"
    folder = server.store / "repositories" / name
    seed.tags(folder, {"v1": family.base.id})
    (folder / "tag_bad").write_bytes(data)
    path = f"/v1/repositories/{name}/tags"
    assert raw.get(server, path).json() == {"v1": family.base.id}
    assert raw.get(server, f"{path}/bad").status == 404
    v2 = {"User-Agent": "skopeo/1.9"}
    assert raw.get(server, f"/v2/{name}/tags/list?n=1", v2).json()["tags"] == ["v1"]
    assert raw.get(server, f"/v2/{name}/manifests/bad", v2).status == 404
    engine.expect(raw.put(server, f"{path}/bad", engine.quoted(family.base.id)))
    assert raw.get(server, f"{path}/bad").json() == family.base.id
    (folder / "tag_bad").write_bytes(data)
    engine.expect(raw.delete(server, f"{path}/bad"))
    assert not (folder / "tag_bad").exists()


def test_a_list_with_tags_and_repeated_ids(server: Server, family: Family) -> None:
    folder = server.store / "repositories/old/list"
    verbatim = [
        {"Tag": "latest", "id": family.base.id},
        {"id": family.base.id},
        {"Tag": "v1", "id": family.base.id},
    ]
    seed.image_list(folder, verbatim)
    path = "/v1/repositories/old/list/images"
    assert raw.get(server, path).json() == verbatim
    engine.expect(raw.put(server, path, json.dumps([{"id": family.child.id}]).encode()), 204)
    found = raw.get(server, path).json()
    assert sorted(item["id"] for item in found) == sorted([family.base.id, family.child.id])
    assert OldRegistry(server.store).index_images("old/list") == found


@pytest.mark.parametrize("parts", ["json", "json ancestry", "json ancestry layer", "all"])
def test_a_push_that_0x_left_half_done(server: Server, family: Family, parts: str) -> None:
    """0.9.1 wrote in place: half a layer under its final name, and the mark. A re-push heals it."""
    engine.upload(server, family.base)
    folder = server.store / "images" / family.child.id
    folder.mkdir(parents=True)
    (folder / "_inprogress").write_text("true")
    (folder / "json").write_bytes(family.child.json)
    if "ancestry" in parts or parts == "all":
        (folder / "ancestry").write_text(json.dumps(family.child.ancestry))
    if "layer" in parts or parts == "all":
        (folder / "layer").write_bytes(family.child.layer[: len(family.child.layer) // 2])
    if parts == "all":
        (folder / "_checksum").write_text('["sha256:' + "0" * 64 + '"]')
    for part in ("json", "layer", "ancestry", "files"):
        assert raw.get(server, family.child.path(part)).status == 400
    engine.push(server, "old/half", [family.base, family.child], ["latest"])
    _served(server, family.child)
    assert OldRegistry(server.store).image_problems(family.child.id) == []
    assert OldRegistry(server.store).checksums(family.child.id).count(family.child.checksum) == 1


def test_a_push_begun_with_0x_is_ended_with_ours(server: Server, family: Family) -> None:
    """The json PUT reached 0.9.1 before the upgrade; layer and checksum come to ours."""
    engine.upload(server, family.base)
    seed.image(server.store, family.child.json, None, family.child.ancestry)
    (server.store / "images" / family.child.id / "_inprogress").write_text("true")
    engine.expect(raw.put(server, family.child.path("layer"), family.child.layer, chunk=99))
    sum = {"X-Docker-Checksum-Payload": family.child.checksum}
    engine.expect(raw.put(server, family.child.path("checksum"), b"", sum))
    _served(server, family.child)
    assert OldRegistry(server.store).image_problems(family.child.id) == []


def test_an_image_without_layer(server: Server, family: Family) -> None:
    """Some stores hold them: json and ancestry are served, the layer is not found."""
    seed.image(server.store, family.base.json, None, family.base.ancestry, [])
    answer = raw.get(server, family.base.path("json"))
    assert (answer.status, answer.body) == (200, family.base.json)
    assert answer.header("X-Docker-Size") is None
    assert raw.get(server, family.base.path("layer")).status == 404


def test_changes_by_0x_are_read(server: Server, family: Family) -> None:
    """Between two of our pushes 0.9.1 rewrote tags and list: nothing of it is overlooked."""
    engine.push(server, "both/write", [family.base], ["latest"])
    seed.image(
        server.store,
        family.child.json,
        family.child.layer,
        family.child.ancestry,
        [family.child.checksum],
    )
    folder = server.store / "repositories/both/write"
    (folder / "tag_latest").write_text(family.child.id)
    (folder / "tag_old").write_text(family.child.id)
    (folder / "_index_images").write_text(
        json.dumps([{"id": family.child.id}, {"id": family.base.id}])
    )
    path = "/v1/repositories/both/write"
    assert raw.get(server, f"{path}/tags").json() == {
        "latest": family.child.id,
        "old": family.child.id,
    }
    assert {i["id"] for i in raw.get(server, f"{path}/images").json()} == {
        family.base.id,
        family.child.id,
    }
    assert raw.get(server, family.child.path("json")).body == family.child.json


def test_files_and_diff_left_by_0x(server: Server, family: Family) -> None:
    """`_files` and `_diff` as 0.9.1's worker wrote them may be served or made anew, never broken."""
    layer = gzip.compress(engine.tar({"a": b"1"}), mtime=0)
    made = image("with files", layer=layer)
    seed.image(server.store, made.json, made.layer, made.ancestry, [made.checksum])
    rows = [["a", "f", False, 1, 1400000000, 420, 0, 0]]
    (server.store / "images" / made.id / "_files").write_text(json.dumps(rows))
    (server.store / "images" / made.id / "_diff").write_text("")  # pending, or cut off
    assert raw.get(server, made.path("files")).json() == rows
    assert raw.get(server, made.path("diff")).json()["created"] == {"a": rows[0][1:]}
