"""The Glance driver beyond the contract, with a real Glance; see also test_contract.py."""

from __future__ import annotations

import errno
import hashlib
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.glance import Account, Glance
from tests.backends.proxy import Proxy
from v1registry.lib.images.commit import CommitRecord, Commits
from v1registry.lib.names import ImageId
from v1registry.storage import ListEntry, Storage, exists, keys
from v1registry.storage.errors import NotFound, Refused, StoreFull, Unavailable
from v1registry.storage.glance.client import GlanceClient, base
from v1registry.storage.glance.driver import GlanceStorage
from v1registry.storage.glance.names import name_of
from v1registry.storage.loading import load

ID, OTHER = "a" * 64, "b" * 64
LAYER = keys.image(ID, "layer")
MIB = 1024 * 1024


def make(options: dict[str, object]) -> GlanceStorage:
    store = load(options, lambda function, *arguments: function(*arguments))
    assert isinstance(store, GlanceStorage)
    return store


@pytest.fixture
def account(glance: Glance) -> Account:
    return glance.account()


@pytest.fixture
def chief(glance: Glance) -> Iterator[Account]:
    """An administrator. All other users see the images that it publishes, so they are deleted."""
    account = glance.account("admin")
    yield account
    account.clear()


@pytest.fixture
def storage(account: Account, tmp_path: Path) -> GlanceStorage:
    return make(account.options(tmp_path))


@pytest.fixture
def proxied(
    glance: Glance, account: Account, tmp_path: Path
) -> Iterator[tuple[GlanceStorage, Proxy]]:
    with Proxy(glance.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        yield make(account.options(tmp_path, glance_url=url, glance_read_timeout=2)), proxy


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the requests to Glance from now on."""
    sent: list[str] = []
    send = GlanceClient._send

    def noted(self, method, path, **more):
        sent.append(f"{method} {path}")
        return send(self, method, path, **more)

    monkeypatch.setattr(GlanceClient, "_send", noted)
    return sent


def document(image_id: str) -> bytes:
    return json.dumps({"id": image_id}).encode()


def finish(storage: Storage, image_id: str, layer: bytes = b"layer") -> None:
    """Commit a layer as `lib` does."""
    parts = {"json": document(image_id), "ancestry": b"[]", "_checksum": b'["sha256:0"]'}
    values = {keys.image(image_id, part): data for part, data in parts.items()}
    with storage.stage_values(values) as aside:
        storage.commit(storage.stage(keys.image(image_id, "layer"), [layer]))
        for key in values:
            aside.put(key)
    storage.flush([*values, keys.image(image_id, "layer")])


def tag(storage: Storage, name: str, image_id: str) -> None:
    folder, word = name.rsplit(":", 1)
    storage.put_all({f"repositories/{folder}/tag_{word}": image_id.encode()})


# -- what 0.x left ----------------------------------------------------------------------------------


def test_images_of_0x_are_read(account: Account, storage: GlanceStorage) -> None:
    parts = {"json": document(ID), "ancestry": '["é"]'.encode(), "_checksum": b'["sha256:1"]'}
    account.make_old(ID, b"old layer", **parts)
    for part, data in {**parts, "layer": b"old layer"}.items():
        key = keys.image(ID, part)
        assert storage.get(key) == data
        stat = storage.stat(key)
        assert stat.size == len(data)
        assert abs(stat.modified - time.time()) < 600
    assert not exists(storage, keys.image(ID, "_inprogress"))
    assert list(storage.list("images")) == [ListEntry(ID, True)]
    assert set(storage.list(f"images/{ID}")) == {
        ListEntry(part, False) for part in (*parts, "layer")
    }
    assert not storage.create(keys.image(ID, "json"), b"other")
    with storage.open(keys.image(ID, "json")) as blob:
        assert blob.read(3) == b'{"i'


def test_images_of_0x_are_listed_once(
    account: Account, storage: GlanceStorage, requests: list[str]
) -> None:
    account.make_old(ID, b"x", json=document(ID))
    assert storage.get(keys.image(ID, "json")) == document(ID)
    requests.clear()
    for _ in range(3):
        with pytest.raises(NotFound):
            storage.get(keys.image(OTHER, "json"))
    assert requests == []
    storage.get(keys.image(ID, "json"))
    assert len(requests) == 1


def test_an_open_image_of_0x_is_open_until_it_is_pushed_again(
    account: Account, storage: GlanceStorage
) -> None:
    old = account.make_old(ID, b"half", json=document(ID), _inprogress=b"true")
    mark = keys.image(ID, "_inprogress")
    assert storage.get(mark) == b"true"
    finish(storage, ID, b"whole")
    assert not exists(storage, mark)
    storage.delete(mark)
    assert storage.get(LAYER) == b"whole"
    assert old in [image["id"] for image in account.images()]
    assert storage.clean(time.time() - 60) == 0
    assert storage.clean(time.time() + 60) == 1
    [image] = account.images()
    assert (image["docker_image_id"], image["size"]) == (ID, 5)
    assert storage.get(LAYER) == b"whole"


def test_the_complete_image_of_0x_is_chosen_among_two(
    account: Account, storage: GlanceStorage
) -> None:
    account.make_old(ID, b"whole", json=document(ID))
    account.make_old(ID, b"other", json=document(ID), _inprogress=b"true")
    account.make_old(ID, None, json=document(ID))
    assert storage.get(LAYER) == b"whole"


def test_deleting_parts_of_old_images(account: Account, storage: GlanceStorage) -> None:
    old = account.make_old(ID, b"x", json=document(ID), _diff=b"{}", _checksum=b"[]")
    storage.delete(keys.image(ID, "_diff"))
    storage.delete(keys.image(ID, "_diff"))
    assert "meta__diff" not in account.image(old)
    storage.delete(LAYER)
    assert account.images() == []
    assert not exists(storage, LAYER)
    assert storage.get(keys.image(ID, "json")) == document(ID)  # though it lay with the layer
    assert storage.get(keys.image(ID, "_checksum")) == b"[]"
    account.make_old(OTHER, b"x", json=document(OTHER))
    make_anew = make(account.options(storage._rest.root))  # it lists anew
    make_anew.delete_folder("images")
    assert account.images() == []
    assert list(make_anew.list("images")) == []


def test_other_users_cannot_forge_images_of_0x(
    glance: Glance, chief: Account, tmp_path: Path
) -> None:
    """An administrator's listing includes the images of all projects."""
    registry, stranger = glance.account("admin"), glance.account()
    fake, published = secrets.token_hex(32), secrets.token_hex(32)
    stranger.make_old(fake, b"evil", json=document(fake))
    public = chief.make_old(published, b"good", json=document(published))
    chief.change(public, visibility="public")
    storage = make(registry.options(tmp_path))
    assert not exists(storage, keys.image(fake, "json"))
    assert storage.get(keys.image(published, "layer")) == b"good"


def test_other_images_of_the_project_are_left_alone(
    account: Account, storage: GlanceStorage
) -> None:
    account.make(b"x", name="team/app:1")
    account.make(b"x", meta_json="no JSON")
    account.make(b"x", meta_json='["a list"]')
    account.make(b"x", container_format="bare", meta_json=document(ID).decode())
    assert list(storage.list("images")) == []
    finish(storage, OTHER)
    tag(storage, "team/app:1", OTHER)
    storage.delete_folder("repositories")
    storage.delete_folder("images")
    storage.clean(time.time() + 60)
    assert len(account.images()) == 4
    assert "team/app:1" in [image["name"] for image in account.images()]


# -- what is in Glance now --------------------------------------------------------------------------


def test_properties_are_those_of_0x_and_the_id(account: Account, storage: GlanceStorage) -> None:
    finish(storage, ID, b"layer")
    [image] = account.images()
    assert (image["disk_format"], image["container_format"]) == ("raw", "docker")
    assert (image["docker_image_id"], image["size"], image["status"]) == (ID, 5, "active")
    found = {name: value for name, value in image.items() if name.startswith("meta_")}
    assert found == {
        "meta_json": document(ID).decode(),
        "meta_ancestry": "[]",
        "meta__checksum": '["sha256:0"]',
    }
    assert set(storage.list(f"images/{ID}")) == {
        ListEntry(name, False) for name in ("json", "ancestry", "_checksum", "layer", "_glance")
    }


def test_an_image_costs_few_requests(storage: GlanceStorage, requests: list[str]) -> None:
    finish(storage, ID)
    requests.clear()
    for part in ("json", "ancestry", "_checksum", "_inprogress"):
        exists(storage, keys.image(ID, part))
    assert requests == []
    storage.stat(LAYER)
    assert len(requests) == 1
    with storage.open(LAYER) as blob:
        blob.read()
    assert len(requests) == 2


def test_missing_layers_cost_one_request(
    account: Account, storage: GlanceStorage, requests: list[str]
) -> None:
    finish(storage, ID)
    [image] = account.images()
    account.call("DELETE", f"/images/{image['id']}")
    for read in (storage.get, storage.open, storage.stat):
        requests.clear()
        with pytest.raises(NotFound):
            read(LAYER)
        assert len(requests) == 1
    assert storage.get(keys.image(ID, "json")) == document(ID)


@pytest.mark.parametrize(
    "data",
    [b'{"a": "' + b"x" * 70_000 + b'"}', '{"a": "\U0001f600"}'.encode(), b"\xff\xfe", b"a\0b"],
    ids=["long", "beyond the BMP", "no UTF-8", "NUL"],
)
def test_values_that_no_property_holds_are_stored(
    account: Account, storage: GlanceStorage, data: bytes
) -> None:
    storage.commit(storage.stage(LAYER, [b"x"]))
    storage.put_all({keys.image(ID, "json"): data, keys.image(ID, "ancestry"): b"[]"})
    assert storage.get(keys.image(ID, "json")) == data
    [image] = account.images()
    assert "meta_json" not in image
    assert image["meta_ancestry"] == "[]"


def test_layers_are_public_if_glance_allows_it(
    glance: Glance, chief: Account, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    member = glance.account()
    for account, wanted, found in (
        (chief, "public", "public"),
        (member, "public", "private"),
        (member, "shared", "shared"),
        (chief, "private", "private"),
    ):
        image_id = secrets.token_hex(32)
        storage = make(account.options(tmp_path / wanted, glance_visibility=wanted))
        handle = storage.stage(keys.image(image_id, "layer"), [b"x"])
        assert {image["visibility"] for image in account.images(visibility="private")} == {
            "private"
        }
        storage.commit(handle)
        [image] = account.images(docker_image_id=image_id)
        assert image["visibility"] == found
    [warning] = caplog.messages
    assert "layers stay private in Glance" in warning


# -- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("repositories/team/app/tag_1.0", "team/app:1.0"),
        ("repositories/library/app/tag_latest", "app:latest"),
        ("repositories/a/b%252Fc/tag_x", "a/b/c:x"),
        ("repositories/a/b%2Fc/tag_x", "a/b/c:x"),
        ("repositories/team/app/tagx_json", None),
        ("repositories/team/app/json", None),
        ("repositories/team/tag_1", None),
        (f"images/{ID}/tag_1/x", None),
        ("repositories/team/app/tag_%22", None),
        (f"repositories/{'n' * 200}/app/tag_{'t' * 100}", None),
    ],
)
def test_names(key: str, name: str | None) -> None:
    assert name_of(key) == name


def test_tags_name_images(account: Account, storage: GlanceStorage) -> None:
    for image_id in (ID, OTHER):
        finish(storage, image_id)

    def names() -> dict[str, str | None]:
        return {image["docker_image_id"]: image["name"] for image in account.images()}

    tag(storage, "team/app:1", ID)
    assert names() == {ID: "team/app:1", OTHER: None}
    tag(storage, "team/app:1", OTHER)
    assert names() == {ID: None, OTHER: "team/app:1"}
    tag(storage, "library/in:x", ID)  # in Glance's filters `in:` is an operator
    tag(storage, "library/in:x", OTHER)
    assert names() == {ID: None, OTHER: "in:x"}
    storage.put("repositories/library/in/tagx_json", b"{}")
    storage.delete("repositories/library/in/tag_x")
    assert names() == {ID: None, OTHER: None}
    tag(storage, "team/app:2", ID)
    tag(storage, "team/app:3", OTHER)
    storage.delete_folder("repositories/team/app")
    assert names() == {ID: None, OTHER: None}
    tag(storage, "team/app:2", "c" * 64)  # no such image: the tag is kept all the same
    assert storage.get("repositories/team/app/tag_2") == b"c" * 64


def test_images_of_0x_are_named(account: Account, storage: GlanceStorage) -> None:
    old = account.make_old(ID, b"x", json=document(ID), ancestry=b"[]")
    account.change(old, name="team/app:1")
    finish(storage, OTHER)
    tag(storage, "team/app:1", OTHER)
    assert account.image(old)["name"] is None
    tag(storage, "team/app:2", ID)
    assert account.image(old)["name"] == "team/app:2"


def test_an_image_that_cannot_be_named_is_tagged(
    chief: Account, storage: GlanceStorage, caplog: pytest.LogCaptureFixture
) -> None:
    image_id = secrets.token_hex(32)
    foreign = chief.make_old(image_id, b"x", json=document(image_id))
    chief.change(foreign, visibility="public")
    tag(storage, "team/app:1", image_id)
    assert storage.get("repositories/team/app/tag_1") == image_id.encode()
    assert "Glance refuses the name of an image" in caplog.text


# -- uploads ----------------------------------------------------------------------------------------


def test_an_upload_is_private_and_nameless(account: Account, storage: GlanceStorage) -> None:
    handle = storage.stage(LAYER, [b"abc", b"", memoryview(b"def")])
    [image] = account.images()
    assert (image["size"], image["visibility"], image["name"]) == (6, "private", None)
    assert not [name for name in image if name.startswith(("meta_", "docker_"))]
    [stage] = storage.stages()
    assert (stage.handle, stage.key) == (handle, LAYER)
    assert abs(stage.modified - time.time()) < 60
    storage.abandon(handle)
    assert account.images() == []


@pytest.mark.parametrize("error", [KeyError("x"), ConnectionResetError(errno.ECONNRESET, "gone")])
def test_a_disconnected_client_leaves_nothing(
    account: Account, storage: GlanceStorage, error: Exception
) -> None:
    """An HTTP library would take the second exception for a fault of the server."""

    def leaving() -> Iterator[bytes]:
        yield bytes(3 * MIB)
        raise error

    with pytest.raises(type(error)) as caught:
        storage.stage(LAYER, leaving())
    assert caught.value is error
    assert account.images() == []
    assert list(storage.stages()) == []


def test_a_running_upload_touches_its_note(
    storage: GlanceStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("v1registry.storage.glance.layers._TOUCH_INTERVAL", 0.1)
    times = []

    def slow() -> Iterator[bytes]:
        for _ in range(3):
            time.sleep(0.15)
            [stage] = storage.stages()
            times.append(stage.modified)
            yield b"x"

    storage.stage(LAYER, slow())
    assert times[0] < times[1] < times[2]


def test_many_commit_one_upload(glance: Glance, tmp_path: Path) -> None:
    """Several nodes execute one commit record: each commits or gets NotFound."""
    account = glance.account()
    stores = [make(account.options(tmp_path)) for _ in range(6)]
    handle = stores[0].stage(LAYER, [b"data"])
    barrier, told = threading.Barrier(6), []

    def commit(store: Storage) -> None:
        barrier.wait()
        try:
            store.commit(handle)
            told.append("committed")
        except NotFound:
            told.append("gone")

    threads = [threading.Thread(target=commit, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 6
    assert "committed" in told
    assert stores[0].get(LAYER) == b"data"
    assert list(stores[0].stages()) == []
    assert stores[0].clean(time.time() + 60) == 0
    assert len(account.images()) == 1


def test_the_last_commit_wins_and_can_be_repeated(account: Account, storage: GlanceStorage) -> None:
    """Two commit records that were written at once are executed in turn."""
    one, other = (storage.stage(LAYER, [data]) for data in (b"one", b"other"))
    storage.commit(one)
    storage.commit(other)
    assert storage.get(LAYER) == b"other"
    storage.commit(one)
    assert storage.get(LAYER) == b"one"
    with pytest.raises(NotFound):
        storage.commit(one)
    for handle in (one, other):
        storage.abandon(handle)  # committed: not to be touched any more
    assert storage.get(LAYER) == b"one"
    assert len(account.images()) == 2
    assert storage.clean(time.time() - 60) == 0
    assert storage.clean(time.time() + 60) == 1
    assert storage.get(LAYER) == b"one"
    assert len(account.images()) == 1
    with pytest.raises(NotFound):
        storage.commit(other)


def test_an_interrupted_commit_is_not_staged_any_more(
    account: Account, storage: GlanceStorage
) -> None:
    handle = storage.stage(LAYER, [b"data"])
    [note] = [f"_v1registry/glance/stages/{image['id']}" for image in account.images()]
    data = storage.get(note)
    storage.commit(handle)
    storage.put(note, data)  # as if it had died before it removed this
    assert storage.is_staged(handle)
    storage.commit(handle)
    storage.put(note, data)
    storage.abandon(handle)
    assert storage.get(LAYER) == b"data"
    assert list(storage.stages()) == []


def test_a_deleted_upload_is_not_staged_any_more(account: Account, storage: GlanceStorage) -> None:
    handle = storage.stage(LAYER, [b"data"])
    [image] = account.images()
    account.call("DELETE", f"/images/{image['id']}")
    assert not storage.is_staged(handle)
    for act in (storage.commit, storage.open_staged):
        with pytest.raises(NotFound):
            act(handle)
    storage.abandon(handle)
    assert list(storage.stages()) == []


def test_other_objects_are_staged_in_the_alternate_store(
    account: Account, storage: GlanceStorage
) -> None:
    handle = storage.stage("images/x", [b"data"])
    assert [stage.key for stage in storage.stages()] == ["images/x"]
    storage.commit(handle)
    assert storage.get("images/x") == b"data"
    assert account.images() == []


def test_a_full_quota_is_full(account: Account, storage: GlanceStorage) -> None:
    account.fill()
    with pytest.raises(StoreFull, match="quota"):
        storage.stage(LAYER, [bytes(MIB)] * 8)
    assert list(storage.stages()) == []
    assert len(account.images()) == 1  # the one that fills it


# -- accounts ---------------------------------------------------------------------------------------


def test_all_versions_of_keystone(glance: Glance, account: Account, tmp_path: Path) -> None:
    for number, url in enumerate(("", "/", "/v3", "/v3/", "/v2.0")):
        options = account.options(tmp_path, glance_authurl=f"{glance.keystone.url}{url}")
        storage = make({**options, "glance_region_name": "one"})
        storage.prepare()
        storage.put(LAYER, str(number).encode())
        assert storage.get(LAYER) == str(number).encode()


def test_without_keystone(glance: Glance, tmp_path: Path) -> None:
    options = glance.account().options(tmp_path, glance_authurl=None)
    for url in (glance.open_url, f"{glance.open_url}/v2/"):
        storage = make({**options, "glance_url": url})
        storage.prepare()
        storage.put(LAYER, b"data")
        assert storage.get(LAYER) == b"data"
    storage.delete_folder("images")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://g:9292", "http://g:9292"),
        ("http://g:9292/v1/", "http://g:9292"),
        ("https://g/image/v2.1", "https://g/image"),
        ("https://g/v2images", "https://g/v2images"),
    ],
)
def test_addresses(url: str, address: str) -> None:
    assert base(url) == address


def test_a_revoked_token_is_replaced(
    glance: Glance, account: Account, storage: GlanceStorage
) -> None:
    storage.put(LAYER, b"data")
    for act in (
        lambda: storage.stat(LAYER),
        lambda: storage.put(LAYER, b"data"),
        lambda: storage.get(LAYER),
        lambda: storage.delete(LAYER),
    ):
        glance.keystone.revoke(account.name)
        time.sleep(1.1)  # for which Glance remembers tokens
        before = glance.keystone.issued
        act()
        assert glance.keystone.issued >= before + 1
    assert not exists(storage, LAYER)


def test_tokens_with_a_short_lifetime(
    glance: Glance, account: Account, storage: GlanceStorage
) -> None:
    glance.keystone.life = 2
    try:
        storage.put(LAYER, b"data")
        time.sleep(2.2)
        assert storage.get(LAYER) == b"data"
    finally:
        glance.keystone.life = 3600


def test_wrong_accounts_are_refused(glance: Glance, account: Account, tmp_path: Path) -> None:
    for wrong, told in (
        ({"glance_password": "wrong"}, "glance_user or glance_password is wrong"),
        ({"glance_user": "nobody"}, "glance_user or glance_password is wrong"),
        ({"glance_region_name": "nowhere"}, "glance_url, glance_region_name"),
        ({"glance_authurl": f"{glance.keystone.url}/v7/v3"}, "from glance_authurl"),
        ({"glance_authurl": None, "glance_url": glance.url}, "401"),  # it wants a token
    ):
        storage = make(account.options(tmp_path, **wrong))
        for act in (
            storage.prepare,
            storage.check,
            lambda storage=storage: storage.stage(LAYER, [b"x"]),
        ):
            with pytest.raises(Refused, match=told):
                act()


# -- what goes wrong --------------------------------------------------------------------------------


def test_a_missing_keystoneauth_is_named(account: Account, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['keystoneauth1'] = None\n"
        "from v1registry.storage import errors, loading\n"
        "try: loading.load({'storage': 'glance'}, None)\n"
        "except errors.Refused as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "glance needs keystoneauth1" in done.stdout
    assert "requirements-glance.txt" in done.stdout


def test_a_broken_download_is_resumed(proxied: tuple[GlanceStorage, Proxy]) -> None:
    storage, proxy = proxied
    data = secrets.token_bytes(4 * MIB)
    storage.put(LAYER, data)
    proxy.cut_after, proxy.cuts = 300_000, 5
    with storage.open(LAYER) as blob:
        assert b"".join(blob.pieces()) == data
    assert proxy.cuts == 0
    proxy.cuts = 2
    with storage.open(LAYER) as blob:
        assert b"".join(blob.pieces(1 * MIB, 3 * MIB)) == data[1 * MIB : 3 * MIB]


def test_a_glance_without_ranges_is_read_from_the_start(
    storage: GlanceStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 2018, Glance ignored ranges and sent the whole image."""
    data = secrets.token_bytes(2 * MIB)
    storage.put(LAYER, data)
    send = GlanceClient._send

    def rangeless(self, method, path, **more):
        more.get("headers", {}).pop("Range", None)
        return send(self, method, path, **more)

    monkeypatch.setattr(GlanceClient, "_send", rangeless)
    with storage.open(LAYER) as blob:
        assert b"".join(blob.pieces(MIB + 5, MIB + 10)) == data[MIB + 5 : MIB + 10]


def test_a_download_that_cannot_be_resumed_raises(
    account: Account, proxied: tuple[GlanceStorage, Proxy]
) -> None:
    storage, proxy = proxied
    storage.put(LAYER, secrets.token_bytes(8 * MIB))
    with storage.open(LAYER) as blob:
        read = blob.pieces()
        next(read)
        proxy.refusing = True
        proxy.drop()
        with pytest.raises(Unavailable):
            list(read)
    proxy.refusing = False
    with storage.open(LAYER) as blob:
        read = blob.pieces()
        next(read)
        proxy.drop()
        account.call("DELETE", f"/images/{account.images()[0]['id']}")
        with pytest.raises(Unavailable, match="deleted while it was being read"):
            list(read)


def test_an_unreachable_or_silent_glance_is_unavailable(
    proxied: tuple[GlanceStorage, Proxy],
) -> None:
    storage, proxy = proxied
    storage.put(LAYER, b"x")
    proxy.refusing = True
    proxy.drop()
    begin = time.monotonic()
    for act in (lambda: storage.get(LAYER), lambda: storage.put(LAYER, b"y"), storage.check):
        with pytest.raises(Unavailable):
            act()
    proxy.refusing, proxy.silent = False, True
    with pytest.raises(Unavailable):
        storage.get(LAYER)
    assert time.monotonic() - begin < 15  # a bound that we promise, not a speed
    proxy.silent = False
    assert storage.get(LAYER) == b"x"


def test_a_lost_response_is_requested_again(proxied: tuple[GlanceStorage, Proxy]) -> None:
    storage, proxy = proxied
    handle = storage.stage(LAYER, [b"data"])
    for act in (lambda: storage.commit(handle), storage.prepare):
        proxy.drop()
        proxy.cut_after, proxy.cuts = 1, 1
        act()
        assert proxy.cuts == 0
    assert storage.get(LAYER) == b"data"


def test_a_broken_upload_is_unavailable_and_leaves_nothing(
    account: Account, proxied: tuple[GlanceStorage, Proxy]
) -> None:
    storage, proxy = proxied

    def pieces() -> Iterator[bytes]:
        for number in range(64):
            if number == 32:  # more than buffers hold: the proxy has the connection by now
                proxy.drop()
            yield bytes(MIB)

    with pytest.raises(Unavailable):
        storage.stage(LAYER, pieces())
    assert list(storage.stages()) == []
    assert account.images() == []


def test_read_in_another_thread_than_opened(storage: GlanceStorage) -> None:
    """`lib` opens a layer in one thread and reads it in the thread pool."""
    data = secrets.token_bytes(MIB)
    storage.put(LAYER, data)
    got = []
    with storage.open(LAYER) as blob:
        first = blob.read(1000)
        thread = threading.Thread(target=lambda: got.append(blob.read()))
        thread.start()
        thread.join()
    assert first + got[0] == data


# -- what is written aside -------------------------------------------------------------------------


def test_staged_writes_set_all_properties_at_once(
    account: Account, storage: GlanceStorage, requests: list[str]
) -> None:
    storage.put(LAYER, b"x")
    requests.clear()
    values = {keys.image(ID, part): b"[]" for part in ("_commit", "json", "ancestry", "_checksum")}
    with storage.stage_values(values) as aside:
        assert aside.create(keys.image(ID, "_commit"))
        assert not exists(storage, keys.image(ID, "json"))
        for part in ("json", "ancestry", "_checksum"):
            aside.put(keys.image(ID, part))
    assert [request.partition(" ")[0] for request in requests] == ["PATCH"]
    [image] = account.images()
    assert {name for name in image if name.startswith("meta_")} == {
        *("meta_json", "meta_ancestry", "meta__checksum"),
    }
    with storage.stage_values(values) as aside:
        assert not aside.create(keys.image(ID, "_commit"))
    assert list(storage.list("_v1registry/uploads")) == []


def test_staged_create_fails_for_a_property_of_0x(account: Account, storage: GlanceStorage) -> None:
    account.make_old(ID, b"x", json=document(ID))
    key = keys.image(ID, "json")
    with storage.stage_values({key: b"other"}) as aside:
        assert not aside.create(key)
    assert storage.get(key) == document(ID)


def test_a_layer_in_staged_writes(storage: GlanceStorage) -> None:
    with storage.stage_values({LAYER: b"data"}) as aside:
        aside.put(LAYER)
    assert storage.get(LAYER) == b"data"


# -- other stores beside it -------------------------------------------------------------------------


def test_with_a_bucket_as_alternate_store(glance: Glance, request: pytest.FixtureRequest) -> None:
    ceph = request.getfixturevalue("ceph")
    account = glance.account()
    beside = ceph.options(storage_path=f"/{secrets.token_hex(4)}")
    storage = make(
        {**beside, **account.options(Path("unused")), "storage_alternate": "s3"}
        | {"storage_path": beside["storage_path"]}
    )
    storage.prepare()
    assert storage.creates_atomically
    finish(storage, ID, b"layer")
    tag(storage, "team/app:1", ID)
    assert storage.get(LAYER) == b"layer"
    assert storage.get(keys.image(ID, "json")) == document(ID)
    [image] = account.images()
    assert image["name"] == "team/app:1"
    client = ceph.client()
    found = client.get_object(
        Bucket="registry", Key=f"{str(beside['storage_path'])[1:]}/images/{ID}/_glance"
    )
    assert found["Body"].read().decode() == image["id"]
    storage.delete_folder("images")
    assert account.images() == []


@pytest.fixture
def loose(glance: Glance, request: pytest.FixtureRequest) -> tuple[Account, list[GlanceStorage]]:
    """Several nodes with a Swift as alternate store, whose `create` is not atomic."""
    swift, account = request.getfixturevalue("swift"), glance.account()
    beside = swift.options(storage_path=f"/{secrets.token_hex(4)}")
    options = {**beside, **account.options(Path("unused")), "storage_alternate": "swift"}
    return account, [make({**options, "storage_path": beside["storage_path"]}) for _ in range(2)]


def test_with_a_container_as_alternate_store(loose: tuple[Account, list[GlanceStorage]]) -> None:
    account, [storage, other] = loose
    storage.prepare()
    assert not storage.creates_atomically
    finish(storage, ID, b"layer")
    tag(storage, "team/app:1", ID)
    assert other.get(LAYER) == b"layer"
    assert [image["name"] for image in account.images()] == ["team/app:1"]
    storage.delete_folder("images")
    assert account.images() == []


def test_two_simultaneous_commit_records_leave_one_image(
    loose: tuple[Account, list[GlanceStorage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layer in place is that of the commit record that stayed, for both nodes."""
    account, stores = loose
    barrier = threading.Barrier(2)
    create = type(stores[0]._rest).create

    def at_once(self, key, data):
        barrier.wait(20)
        self.put(key, data)  # as where both have looked before either has written
        barrier.wait(20)
        return True

    for number in range(4):
        image_id = ImageId(f"{number:064x}")
        key = keys.image(image_id, "layer")
        records, failures = [], []
        for store, layer in zip(stores, (b"one", b"other"), strict=True):
            handle = store.stage(key, [layer])
            digest = hashlib.sha256(document(image_id)).hexdigest()
            records.append(CommitRecord(digest, handle, len(layer), [layer.decode()], [image_id]))

        def decide(
            store: Storage, record: CommitRecord, image_id=image_id, failures=failures
        ) -> None:
            try:
                Commits(store).commit(image_id, record, document(image_id))
            except BaseException as failure:
                failures.append(failure)

        monkeypatch.setattr(type(stores[0]._rest), "create", at_once)
        threads = [
            threading.Thread(target=decide, args=pair) for pair in zip(stores, records, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        monkeypatch.setattr(type(stores[0]._rest), "create", create)
        assert failures == []
        stayed = Commits(stores[0]).find(image_id)
        assert stayed in records
        for store in stores:
            assert store.get(key).decode() == stayed.checksums[0]
            assert json.loads(store.get(keys.image(image_id, "_checksum"))) == stayed.checksums
        for record in records:
            stores[0].abandon(record.handle)
        assert stores[0].clean(time.time() + 60) == 0  # not within the hour
        assert stores[1].get(key).decode() == stayed.checksums[0]
    assert len(account.images()) == 8
