"""Push provenance: what a push may learn of other users' images, and how it proves possession.

Ada has a private image with a parent. Bob knows its ids, and either nothing else or all its contents.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from dataclasses import dataclass

import pytest

from tests.fixtures import engines
from tests.lib.images import test_same_json as jsons
from tests.lib.layers import test_same_layer as layers
from tests.lib.stores import Domain, image_id, image_json, layer_of, payload, write_image
from v1registry.lib import errors
from v1registry.lib.auth.rights import Access, Caller, Credentials, Grant, Rights
from v1registry.lib.errors import Failure, Text
from v1registry.lib.images.cleaner import Cleaner
from v1registry.lib.images.push_provenance import Sender
from v1registry.lib.layers.tarsum import TarSums
from v1registry.lib.names import ImageId, RepositoryName, Tag
from v1registry.lib.repositories import image_access, references
from v1registry.lib.repositories.image_access import ImageRights
from v1registry.storage import exists, keys
from v1registry.storage.local.driver import FileStorage
from v1registry.storage.memory import MemoryStorage

BASE, TOP, OWN = (ImageId(image_id(letter)) for letter in "abc")
LAYER = layer_of("etc", secret=b"Ada's")
JSONS = {BASE: image_json(BASE, Env="secret"), TOP: image_json(TOP, BASE, Cmd="secret")}
ADA, BOB = Caller(user="ada"), Caller(user="bob")


class ByNamespace(Rights):
    """Each user may do everything in the namespace with the user's name, and nothing elsewhere."""

    def identify(self, credentials: Credentials, address: str) -> Caller:
        raise NotImplementedError

    def may(self, caller: Caller, repository: RepositoryName | None, access: Access) -> bool:
        return repository is None or repository.namespace == caller.user


@dataclass
class World:
    domain: Domain
    rights: ImageRights

    def sender(self, caller: Caller) -> Sender:
        sender = self.rights.sender(caller)
        assert sender is not None
        return sender

    def put_json(self, caller: Caller, id: ImageId, data: bytes) -> None:
        self.domain.uploads.put_json(id, data, self.sender(caller))

    def put_layer(self, caller: Caller, id: ImageId, layer: bytes) -> None:
        self.domain.uploads.put_layer(id, [layer], self.sender(caller))

    def put_checksum(self, caller: Caller, id: ImageId, value: str) -> None:
        headers = (None, value) if value.startswith("tarsum") else (value, None)
        self.domain.uploads.put_checksum(id, *headers, self.sender(caller))

    def push(self, caller: Caller, id: ImageId, data: bytes, layer: bytes) -> None:
        self.put_json(caller, id, data)
        self.put_layer(caller, id, layer)
        self.put_checksum(caller, id, payload(data, layer))

    def tag(self, caller: Caller, id: ImageId, tag: str = "latest") -> None:
        repository = RepositoryName(caller.user or "", "app")
        data = json.dumps(id).encode()
        self.domain.repositories.set_tag(repository, Tag(tag), data, "", self.sender(caller))

    def may_read(self, caller: Caller, id: ImageId) -> bool:
        return self.rights.may_read(caller, id)


@pytest.fixture(params=["file", "memory, stages unread"])
def world(request, tmp_path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(references, "LIFE", 0.0)
    monkeypatch.setattr(image_access, "LIFE", 0.0)
    storage = FileStorage(tmp_path) if request.param == "file" else MemoryStorage()
    if request.param != "file":
        monkeypatch.setattr(storage, "reads_stages", False)  # as S3
    domain = Domain(storage)
    world = World(domain, ImageRights(ByNamespace(), domain.reach, domain.proofs))
    for id in (BASE, TOP):
        world.push(ADA, id, JSONS[id], LAYER)
    world.tag(ADA, TOP)
    return world


def fails(text: Text, function, *args) -> None:
    with pytest.raises(Failure) as caught:
        function(*args)
    assert (caught.value.status, caught.value.text) == text


def test_the_owner_may_read_a_pushed_image(world: World) -> None:
    assert world.may_read(ADA, TOP)
    assert world.may_read(ADA, BASE)
    fails(errors.IMAGE_EXISTS, world.put_json, ADA, TOP, JSONS[TOP])
    world.tag(ADA, BASE, "base")


@pytest.mark.parametrize("id", [TOP, BASE, ImageId(image_id("f"))], ids=["top", "base", "unknown"])
def test_the_id_alone_proves_nothing(world: World, id: ImageId) -> None:
    """In every state of the push, each answer is that for an unknown image."""
    guess = image_json(id)
    assert not world.may_read(BOB, id)
    fails(errors.IMAGE_NOT_FOUND, world.tag, BOB, id)
    fails(errors.IMAGE_NOT_FOUND, world.put_layer, BOB, id, LAYER)
    fails(errors.IMAGE_NOT_FOUND, world.put_checksum, BOB, id, payload(guess, LAYER))
    world.put_json(BOB, id, guess)
    fails(errors.LAYER_MISSING, world.put_checksum, BOB, id, payload(guess, LAYER))
    fails(errors.PARENT_NOT_FOUND, world.put_json, BOB, OWN, image_json(OWN, id))
    world.put_layer(BOB, id, b"anything")
    fails(errors.CHECKSUM_MISMATCH, world.put_checksum, BOB, id, payload(guess, b"something"))
    assert not world.may_read(BOB, id)
    fails(errors.IMAGE_NOT_FOUND, world.tag, BOB, id)


def test_no_mark_is_left_on_a_complete_image(world: World) -> None:
    write_image(
        world.domain.storage, OWN
    )  # by 0.x: there is no commit record, so nothing would delete it
    for id in (TOP, OWN):
        world.put_json(BOB, id, image_json(id))
        world.put_layer(BOB, id, b"x")
        assert not exists(world.domain.storage, keys.image(id, "_inprogress"))
    assert world.domain.images.get(TOP).json == JSONS[TOP]


def test_an_image_of_another_running_push_is_unknown(world: World) -> None:
    world.put_json(ADA, OWN, image_json(OWN))
    fails(errors.IMAGE_NOT_FOUND, world.put_checksum, BOB, OWN, payload(b"", b""))
    fails(errors.IMAGE_NOT_FOUND, world.put_layer, BOB, OWN, LAYER)
    fails(errors.IMAGE_NOT_FOUND, world.tag, BOB, OWN)
    assert not world.may_read(BOB, OWN)


def test_an_image_of_0x_is_proven_like_any_other(world: World) -> None:
    """Its checksum may be missing, or be a TarSum, which engines sent at that time."""
    data = write_image(world.domain.storage, OWN, layer=LAYER)
    world.domain.storage.delete(keys.image(OWN, "_checksum"))
    world.push(BOB, OWN, data, LAYER)
    assert world.may_read(BOB, OWN)
    data = write_image(world.domain.storage, "d" * 64, layer=b"no tar")
    world.domain.storage.delete(keys.image("d" * 64, "_checksum"))
    with pytest.raises(Failure):
        world.push(BOB, ImageId("d" * 64), data, b"no tar either")


LIES = [
    # Bob's JSON and layer, and the checksum that he sends
    ("another JSON", image_json(TOP), LAYER),
    ("the JSON and no layer", JSONS[TOP], b""),
    ("the JSON and another tar", JSONS[TOP], layer_of("etc", secret=b"Bob's")),
    ("the JSON and an empty tar", JSONS[TOP], bytes(10240)),
    ("the JSON and no tar", JSONS[TOP], b"no tar at all"),
    ("the JSON and a part of the tar", JSONS[TOP], LAYER[:1024]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "data", "layer"), LIES, ids=[what for what, *_ in LIES])
def test_other_contents_prove_nothing(world: World, what: str, data: bytes, layer: bytes) -> None:
    """Bob's checksum of Bob's bytes proves that they arrived, not that they are the image."""
    world.push(BOB, BASE, JSONS[BASE], LAYER)
    world.put_json(BOB, TOP, data)
    world.put_layer(BOB, TOP, layer)
    for value in (payload(data, layer), payload(JSONS[TOP], LAYER), payload(data, LAYER)):
        fails(errors.CHECKSUM_MISMATCH, world.put_checksum, BOB, TOP, value)
    assert not world.may_read(BOB, TOP)
    fails(errors.IMAGE_NOT_FOUND, world.tag, BOB, TOP)
    assert world.domain.images.get(TOP).json == JSONS[TOP]


def is_proven(world: World, id: ImageId, data: bytes, layer: bytes) -> bool:
    """Return whether Bob gets access to the image by pushing this."""
    refused = None
    try:
        world.push(BOB, id, data, layer)
    except Failure as failure:
        refused = (failure.status, failure.text)
    assert refused in (None, errors.CHECKSUM_MISMATCH)
    assert world.may_read(BOB, id) == (refused is None)
    return refused is None


@pytest.mark.parametrize("what", layers.HIDDEN)
def test_hidden_bytes_must_be_sent(world: World, what: str) -> None:
    """Knowing the JSON and the visible part of a tar does not prove possession of the image."""
    own, hidden = image_json(OWN), layers.HIDDEN[what]
    world.push(ADA, OWN, own, hidden)
    assert not is_proven(world, OWN, own, layers.PLAIN)
    assert not is_proven(world, OWN, own, gzip.compress(layers.PLAIN))
    assert world.domain.storage.get(keys.image(OWN, "layer")) == hidden
    assert is_proven(world, OWN, own, hidden)


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (layers.tar(layers.TWICE), layers.tar(layers.TWICE[:1] + layers.TWICE)),
        (layers.tar(layers.TWICE), layers.tar([layers.TWICE[i] for i in (1, 0, 2)])),
        (layers.file(layers.pax(layers.XATTRS)), layers.file()),
        (
            layers.file(layers.pax({"SCHILY.xattr.user.x": b"secret"})),
            layers.file(layers.pax({"SCHILY.xattr.user.x": b"guess"})),
        ),
    ],
    ids=["an entry twice", "another order of one name", "attributes", "another attribute"],
)
def test_layers_of_one_tarsum_that_are_not_the_same(
    world: World, stored: bytes, sent: bytes
) -> None:
    own = image_json(OWN)
    world.push(ADA, OWN, own, stored)
    assert not is_proven(world, OWN, own, sent)
    assert is_proven(world, OWN, own, gzip.compress(stored, 1))


@pytest.mark.parametrize("what", jsons.OTHER)
def test_another_json_proves_nothing(world: World, what: str) -> None:
    found = jsons.OTHER[what]
    pair = tuple(map(jsons.dump, found if isinstance(found, tuple) else (jsons.IMAGE, found)))
    id = ImageId(jsons.IMAGE["id"])  # that of BASE, which exists
    for stored, sent in (pair, pair[::-1]):
        world.domain.storage.put(keys.image(id, "json"), stored)
        with contextlib.suppress(Failure):  # many are not an image JSON at all
            world.put_json(BOB, id, sent)
            assert not is_proven(world, id, sent, LAYER)
        assert not world.may_read(BOB, id)


@pytest.mark.parametrize("what", jsons.SAME)
def test_the_same_json_in_other_bytes_proves_possession(world: World, what: str) -> None:
    id = ImageId(jsons.IMAGE["id"])
    world.domain.storage.put(keys.image(id, "json"), jsons.dump(jsons.IMAGE))
    assert is_proven(world, id, jsons.dump(jsons.SAME[what]), LAYER)
    assert world.domain.images.get(id).json == jsons.dump(jsons.IMAGE)


@pytest.mark.parametrize(("first", "second"), engines.PAIRS)
def test_two_engines_send_the_same_image_at_once(world: World, first: str, second: str) -> None:
    """The image is complete only after both have sent everything: both layers are staged."""
    sent = {
        caller: (engines.json_of(version, OWN), engines.layer_of(version))
        for caller, version in ((ADA, first), (BOB, second))
    }
    for caller, (data, _) in sent.items():
        world.put_json(caller, OWN, data)
    for caller, (_, layer) in sent.items():
        world.put_layer(caller, OWN, layer)
    for caller, pair in sent.items():
        world.put_checksum(caller, OWN, payload(*pair))
        assert world.may_read(caller, OWN)
    assert world.domain.images.get(OWN).json == sent[ADA][0]
    assert world.domain.storage.get(keys.image(OWN, "layer")) == sent[ADA][1]


def test_a_truncated_layer_can_be_sent_again(world: World) -> None:
    data, layer = engines.json_of("1.5.0", OWN), engines.layer_of("1.5.0")
    world.push(ADA, OWN, engines.json_of("1.8.3", OWN), engines.layer_of("1.8.3"))
    assert not is_proven(world, OWN, data, layer[:2000])
    assert is_proven(world, OWN, data, layer)


def test_a_json_that_another_client_sent_is_not_proven_by_its_checksum(world: World) -> None:
    """Bob sends one of Ada's two JSONs, the layer, and the checksum with the other JSON."""
    secret, known = image_json(OWN, Env="secret"), image_json(OWN)
    world.put_json(ADA, OWN, known)
    world.put_json(ADA, OWN, secret)
    world.put_layer(ADA, OWN, LAYER)
    world.put_json(BOB, OWN, known)
    world.put_layer(BOB, OWN, LAYER)
    world.put_checksum(ADA, OWN, payload(secret, LAYER))
    fails(errors.CHECKSUM_MISMATCH, world.put_checksum, BOB, OWN, payload(secret, LAYER))
    assert not world.may_read(BOB, OWN)


def test_the_tarsum_of_the_image_is_no_proof_without_the_layer(world: World) -> None:
    world.push(BOB, BASE, JSONS[BASE], LAYER)
    world.put_json(BOB, TOP, JSONS[TOP])
    world.put_layer(BOB, TOP, b"anything")
    with world.domain.storage.open(keys.image(TOP, "layer")) as stored:
        value = TarSums.read(stored).values(JSONS[TOP])[0]
    fails(errors.CHECKSUM_MISMATCH, world.put_checksum, BOB, TOP, value)
    assert not world.may_read(BOB, TOP)


def test_data_of_other_senders_proves_nothing(world: World) -> None:
    """Ada sends her image again; meanwhile Bob sends the right checksum."""
    world.push(BOB, BASE, JSONS[BASE], LAYER)
    world.domain.uploads.put_layer(TOP, [LAYER], world.sender(ADA))
    fails(errors.IMAGE_NOT_FOUND, world.put_checksum, BOB, TOP, payload(JSONS[TOP], LAYER))
    world.put_json(BOB, TOP, JSONS[TOP])
    fails(errors.LAYER_MISSING, world.put_checksum, BOB, TOP, payload(JSONS[TOP], LAYER))


@pytest.mark.parametrize("compress", [bytes, lambda layer: gzip.compress(layer, 1, mtime=0)])
def test_an_engine_with_the_same_images_can_push_them(world: World, compress) -> None:
    """An engine with the same images pushes all of them, the base image first.

    It may compress the layer in another way: the first copy stays.
    """
    layer = compress(LAYER)
    world.push(BOB, BASE, JSONS[BASE], layer)
    assert world.may_read(BOB, BASE)
    assert not world.may_read(BOB, TOP)
    fails(errors.IMAGE_EXISTS, world.put_json, BOB, BASE, JSONS[BASE])
    world.push(BOB, TOP, JSONS[TOP], layer)
    world.push(BOB, OWN, image_json(OWN, TOP), layer_of("own"))
    world.tag(BOB, OWN)
    assert all(world.may_read(BOB, id) for id in (OWN, TOP, BASE))
    assert not world.may_read(ADA, OWN)
    for id in (BASE, TOP):
        assert world.domain.storage.get(keys.image(id, "layer")) == LAYER
        assert world.domain.images.get(id).checksums == (payload(JSONS[id], LAYER),)


def test_an_old_engine_that_sends_the_tarsum_alone(world: World) -> None:
    layer = gzip.compress(LAYER, 1, mtime=0)
    world.put_json(BOB, BASE, JSONS[BASE])
    world.put_layer(BOB, BASE, layer)
    with io.BytesIO(LAYER) as file:
        world.put_checksum(BOB, BASE, TarSums.read(file).values(JSONS[BASE])[0])
    assert world.may_read(BOB, BASE)


def test_two_send_the_same_new_image_at_once(world: World) -> None:
    own = image_json(OWN)
    for caller in (ADA, BOB):
        world.put_json(caller, OWN, own)
    for caller in (ADA, BOB):
        world.put_layer(caller, OWN, LAYER)
    for caller in (ADA, BOB):
        world.put_checksum(caller, OWN, payload(own, LAYER))
        assert world.may_read(caller, OWN)
    assert list(world.domain.storage.stages()) == []


def test_a_second_image_with_the_same_id_is_refused(world: World) -> None:
    own, others = image_json(OWN, Env="Ada's"), image_json(OWN, Env="Bob's")
    world.put_json(ADA, OWN, own)
    world.put_json(BOB, OWN, others)
    world.put_layer(ADA, OWN, LAYER)
    world.put_layer(BOB, OWN, LAYER)
    world.put_checksum(ADA, OWN, payload(own, LAYER))
    fails(errors.CHECKSUM_MISMATCH, world.put_checksum, BOB, OWN, payload(others, LAYER))
    assert not world.may_read(BOB, OWN)
    assert world.domain.images.get(OWN).json == own


def test_a_proof_expires(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.push(BOB, BASE, JSONS[BASE], LAYER)
    monkeypatch.setattr(world.domain.proofs, "_life", -1)
    assert not world.may_read(BOB, BASE)
    world.tag(ADA, BASE, "base")  # an image that a tag leads to needs no proof
    assert world.may_read(ADA, BASE)


def test_the_cleaner_deletes_the_notes(world: World) -> None:
    world.push(BOB, BASE, JSONS[BASE], LAYER)
    world.put_json(BOB, TOP, image_json(TOP))
    Cleaner(world.domain.storage, world.domain.commits).clean(before=2e10)
    assert list(world.domain.storage.list(keys.PUSHES)) == []
    assert world.may_read(ADA, TOP)
    assert not world.may_read(BOB, BASE)


def test_tokens_for_one_repository_are_one_sender(world: World) -> None:
    write = Caller(grant=Grant(RepositoryName("bob", "app"), Access.PUSH))
    read = Caller(grant=Grant(RepositoryName("bob", "app"), Access.PULL))
    other = Caller(grant=Grant(RepositoryName("bob", "other"), Access.PULL))
    world.push(write, BASE, JSONS[BASE], LAYER)
    assert world.may_read(read, BASE)
    assert not world.may_read(other, BASE)
    world.domain.repositories.set_tag(
        RepositoryName("bob", "other"), Tag("x"), json.dumps(TOP).encode(), ""
    )
    assert world.may_read(other, TOP)
    assert not world.may_read(read, TOP)


def test_names_of_senders_are_not_paths(world: World) -> None:
    for name in ("../../x", "a/b", "\ud800", "x" * 5000, "\0"):
        caller = Caller(user=name)
        world.push(caller, BASE, JSONS[BASE], LAYER)
        assert world.may_read(caller, BASE)
