"""The registry on another's idea of Google Cloud Storage: an emulator, for what that can do.

All else is tested on fakes of our own: test_object_stores.py, and storage/test_gcs*.py.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Bucket, Client

from tests import raw
from tests.backends.gcs import Emulator
from tests.faults.engine import Engine, make_image, make_tar, squeeze
from tests.live_server import ROOT, Server

GOLDEN = ROOT / "tests" / "fixtures" / "golden"
MIB = 1024 * 1024


@pytest.fixture
def bucket(gcs_emulator: Emulator) -> Iterator[Bucket]:
    """Read an object as another program does."""
    options = {"api_endpoint": gcs_emulator.url}
    with Client(None, AnonymousCredentials(), client_options=options) as client:
        client._bucket_metadata_cache = None  # see gcsclient.py
        yield client.bucket("registry")


@pytest.fixture
def root() -> str:
    return secrets.token_hex(8)


def names(bucket: Bucket, begin: str) -> set[str]:
    return {blob.name.removeprefix(begin) for blob in bucket.list_blobs(prefix=begin)}


def test_push_pull_delete(gcs_emulator: Emulator, bucket: Bucket, root: str, tmp_path: Path):
    environ = gcs_emulator.environ(STORAGE_PATH=f"/{root}", STORAGE_REDIRECT="true")
    with Server(tmp_path / "unused", env=environ) as server:
        base = make_image("emulated base", squeeze(make_tar(1, 20 * MIB), 0))
        top = make_image("emulated top", squeeze(make_tar(2, 1000), 0), base)
        engine = Engine(server, "team/app")
        engine.push([base, top], "v1")
        assert engine.pull("v1") == {image.id: (image.json, image.layer) for image in (base, top)}
        path = f"/v1/images/{base.id}/layer"
        part = raw.get(server, path, headers={"Range": "bytes=9000000-9000999"})
        assert (part.status, part.body) == (206, base.layer[9_000_000:9_001_000])
        assert bucket.blob(f"{root}/images/{base.id}/layer").download_as_bytes() == base.layer
        found = names(bucket, f"{root}/")
        for part in ("json", "layer", "ancestry", "_checksum", "_commit"):
            assert {f"images/{image.id}/{part}" for image in (base, top)} <= found
        assert not {name for name in found if name.endswith("_inprogress")}
        assert not {name for name in found if "uploads" in name}
        engine.expect(200, "DELETE", "/v1/repositories/team/app/")
        assert names(bucket, f"{root}/repositories/team/app/") == set()
        assert server.log.count("storage_redirect has no effect") == 1


def test_the_store_of_0x_is_served_in_place(
    gcs_emulator: Emulator, bucket: Bucket, root: str, tmp_path: Path
):
    store = GOLDEN / "store-0.9.1"
    for file in store.rglob("*"):
        if file.is_file():
            blob = bucket.blob(f"{root}/{file.relative_to(store)}")
            blob.upload_from_string(file.read_bytes())
    before = names(bucket, f"{root}/")
    with Server(tmp_path, env=gcs_emulator.environ(STORAGE_PATH=f"/{root}")) as server:
        for known in json.loads((GOLDEN / "image-ids.json").read_text()):
            found = Engine(server, known["repository"]).pull("latest")
            assert known["v1_id"] in found
            assert len(found) == known["layers"]
            for one, (data, layer) in found.items():
                assert data == (store / "images" / one / "json").read_bytes()
                assert layer == (store / "images" / one / "layer").read_bytes()
    assert {name for name in names(bucket, f"{root}/") if not name.startswith("_v1")} == before
