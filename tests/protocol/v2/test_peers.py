"""Current clients and another registry copy images from our v2 view with the same digests."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import raw
from tests.backends.v2registry import V2Registry
from tests.live_server import Server
from tests.needs import needs, require, tool
from tests.protocol.v2 import world
from tests.protocol.v2.world import IMAGES, digest, get, manifest
from v1registry.lib.oci.convert import OCI, SCHEMA2

GOOD = [*((image["repository"], "latest") for image in IMAGES), ("team/app", "1.0")]
GOOD += [("team/app", "packed"), ("team/app", "bzip2"), ("library/busybox", "latest")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("world") / "store"
    world.make(store)
    with Server(store, workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[V2Registry]:
    require("v2-registry")
    with V2Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def skopeo(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [tool("skopeo"), "--insecure-policy", "--tmpdir", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def copy(folder: Path, source: str, target: str, *more: str) -> None:
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    skopeo("copy", *plain, *more, source, target, folder=folder)


def oci_manifest(layout: Path) -> tuple[str, dict[str, Any]]:
    """Return digest and content of the only manifest in an OCI layout."""
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    return entry["digest"], json.loads(blob(layout, entry["digest"]))


def blob(layout: Path, name: str) -> bytes:
    data = (layout / "blobs" / "sha256" / name.removeprefix("sha256:")).read_bytes()
    assert digest(data) == name
    return data


@needs("skopeo")
@pytest.mark.parametrize(("repository", "tag"), GOOD)
def test_inspect(server: Server, tmp_path: Path, repository: str, tag: str) -> None:
    url = f"docker://{server.host}/{repository}:{tag}"
    found = json.loads(skopeo("inspect", "--tls-verify=false", url, folder=tmp_path))
    shown = manifest(server, repository, tag)
    assert found["Layers"] == [layer["digest"] for layer in shown["layers"]]
    assert (found["Os"], found["Architecture"]) == ("linux", "amd64")
    assert tag in found["RepoTags"]


@needs("skopeo")
@pytest.mark.parametrize(("repository", "tag"), GOOD)
def test_copy_to_an_oci_layout(server: Server, tmp_path: Path, repository: str, tag: str) -> None:
    """skopeo verifies every digest and diff_id. Its copy has our layers."""
    layout = tmp_path / "layout"
    copy(tmp_path, f"docker://{server.host}/{repository}:{tag}", f"oci:{layout}:x")
    _, found = oci_manifest(layout)
    ours = manifest(server, repository, tag, OCI)
    assert len(found["layers"]) == len(ours["layers"])
    stored = {layer["digest"] for layer in ours["layers"] if layer["mediaType"].endswith("gzip")}
    assert stored <= {layer["digest"] for layer in found["layers"]}
    config = json.loads(blob(layout, found["config"]["digest"]))
    shown = get(server, f"{repository}/blobs/{ours['config']['digest']}").json()
    assert config["rootfs"] == shown["rootfs"]


@needs("skopeo")
@pytest.mark.parametrize(("repository", "tag"), GOOD)
def test_to_a_registry_of_today_and_back(
    server: Server, registry: V2Registry, tmp_path: Path, repository: str, tag: str
) -> None:
    """Manifest, config and layers have the same digests in the other registry."""
    there = f"docker://{registry.host}/{repository}:{tag}"
    ours = get(server, f"{repository}/manifests/{tag}", Accept=SCHEMA2)
    copy(tmp_path, f"docker://{server.host}/{repository}:{tag}", there, "--preserve-digests")
    theirs = skopeo("inspect", "--raw", "--tls-verify=false", there, folder=tmp_path)
    assert theirs.encode() == ours.body
    copy(tmp_path, there, f"dir:{tmp_path}/back", "--preserve-digests")
    assert (tmp_path / "back" / "manifest.json").read_bytes() == ours.body
    for part in (ours.json()["config"], *ours.json()["layers"]):
        name = part["digest"].removeprefix("sha256:")
        data = (tmp_path / "back" / name).read_bytes()
        assert data == get(server, f"{repository}/blobs/{part['digest']}").body


@needs("skopeo")
def test_by_digest_and_all_tags(server: Server, tmp_path: Path) -> None:
    name = get(server, "team/app/manifests/1.0").header("Docker-Content-Digest")
    url = f"docker://{server.host}/team/app@{name}"
    skopeo("inspect", "--tls-verify=false", url, folder=tmp_path)
    url = f"docker://{server.host}/team/app"
    listed = json.loads(skopeo("list-tags", "--tls-verify=false", url, folder=tmp_path))
    assert listed["Tags"] == get(server, "team/app/tags/list").json()["tags"]


@needs("skopeo")
def test_a_push_is_refused_with_a_reason(server: Server, tmp_path: Path) -> None:
    source, target = f"docker://{server.host}/team/app:1.0", f"docker://{server.host}/new/app:1.0"
    with pytest.raises(
        AssertionError, match=r"Over v2 this registry is read-only\. Push with Docker up to 1\.13"
    ):
        copy(tmp_path, source, target)
    assert get(server, "new/app/tags/list").status == 404


@needs("skopeo")
def test_a_broken_image_says_so(server: Server, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the layer cannot be read"):
        copy(tmp_path, f"docker://{server.host}/team/app:broken", f"dir:{tmp_path}/x")


@pytest.mark.heavy
@needs("podman", "root")
def test_podman_pulls(server: Server, tmp_path: Path, stack: contextlib.ExitStack) -> None:
    """The client also shows the image id that engines gave the image."""
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    podman = [tool("podman"), "--cgroup-manager=cgroupfs", "--storage-driver=vfs"]
    short = stack.enter_context(tempfile.TemporaryDirectory(prefix="v2-"))  # its own demand
    podman += [f"--{kind}={short}/{kind}" for kind in ("root", "runroot", "tmpdir")]

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*podman, *arguments], capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    for image in IMAGES:
        url = f"{server.host}/{image['repository']}:latest"
        id = run("pull", "-q", "--tls-verify=false", f"--signature-policy={policy}", url)
        assert f"sha256:{id}" == image["image_id"]
    url = f"{server.host}/team/app:packed"
    run("pull", "-q", "--tls-verify=false", f"--signature-policy={policy}", url)
    container = run("create", "--network=none", url, "/nothing")
    run("export", "-o", str(tmp_path / "x.tar"), container)
    assert b"packedpacked" in (tmp_path / "x.tar").read_bytes()


def test_v1_clients_saw_nothing_of_it(server: Server) -> None:
    """The same store, at the same time, over v1."""
    answer = raw.get(server, f"/v1/images/{world.XZ}/layer")
    assert answer.body == (server.store / "images" / world.XZ / "layer").read_bytes()
