"""Current Docker and containerd: images that they pull, load and save have the golden ids."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.dockerd import Docker, Forbidden
from tests.live_server import Server
from tests.needs import require
from tests.protocol.v2 import world
from tests.protocol.v2.world import IMAGES, get, manifest
from tests.rights.accounts import PASSWORD, environment, password_file
from tests.transfer.run import call
from v1registry.lib.oci.convert import OCI

pytestmark = pytest.mark.heavy

NAMES = [image["repository"] for image in IMAGES]
IDS = {image["repository"]: image["image_id"] for image in IMAGES}


@pytest.fixture(scope="module")
def engine() -> Iterator[Docker]:
    """What the kernel forbids is skipped in CI, too, unlike a package that is missing."""
    require("docker", "root")
    try:
        running = Docker()
    except Forbidden as reason:
        pytest.skip(f"dockerd does not run here: {reason}")
    with running:
        yield running


@pytest.fixture
def docker(engine: Docker) -> Docker:
    engine.empty()
    return engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("world") / "store"
    world.make(store)
    with Server(store, workers=2) as running:
        yield running


def environ(store: Path) -> dict[str, str]:
    return {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(store)}


def export(server: Server, target: Path, form: str) -> Path:
    arguments = ["export", str(target), "--format", form, "--tags", "latest"]
    call([*arguments, "--repositories", "libtest/*"], environ(server.store), 0)
    return target


# -- pulling ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_docker_pulls_and_shows_the_id_that_engines_showed(
    docker: Docker, server: Server, name: str
) -> None:
    url = f"{server.host}/{name}:latest"
    docker.run("pull", url)
    listed = docker.run("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
    assert listed == f"{url} {IDS[name]}"
    digest = get(server, f"{name}/manifests/latest").header("Docker-Content-Digest")
    assert docker.image(url)["RepoDigests"] == [f"{server.host}/{name}@{digest}"]
    docker.empty()
    docker.run("pull", f"{server.host}/{name}@{digest}")  # and so do those who name a digest
    assert docker.image(f"{server.host}/{name}@{digest}")["Id"] == IDS[name]


@pytest.mark.parametrize("tag", ["1.0", "packed", "bzip2"])
def test_docker_unpacks_layers_of_every_kind(docker: Docker, server: Server, tag: str) -> None:
    url = f"{server.host}/team/app:{tag}"
    docker.run("pull", url)
    shown = manifest(server, "team/app", tag)
    assert docker.image(url)["Id"] == shown["config"]["digest"]
    container = docker.run("create", "--network=none", url, "/nothing")
    out = docker.folder / "exported.tar"
    docker.run("export", "--output", str(out), container)
    docker.run("rm", container)
    with tarfile.open(out) as archive:
        names = set(archive.getnames())
    assert ("d" in names) == (tag != "1.0")
    assert ({"a", "b", "c"} <= names) == (tag != "bzip2")


def test_docker_pulls_all_tags_of_a_repository(docker: Docker, server: Server) -> None:
    docker.run("pull", "--all-tags", f"{server.host}/libtest/d101")
    assert docker.image(f"{server.host}/libtest/d101:latest")["Id"] == IDS["libtest/d101"]


def test_docker_shows_the_error_of_a_broken_image(docker: Docker, server: Server) -> None:
    url = f"{server.host}/team/app"
    assert "the layer cannot be read" in docker.fail("pull", f"{url}:broken")
    assert "not found" in docker.fail("pull", f"{url}:never")


def test_docker_shows_that_it_cannot_push(docker: Docker, server: Server) -> None:
    docker.run("pull", f"{server.host}/team/app:1.0")
    docker.run("tag", f"{server.host}/team/app:1.0", f"{server.host}/new/app:1.0")
    assert "Over v2 this registry is read-only" in docker.fail("push", f"{server.host}/new/app:1.0")


def test_docker_logs_in_and_pulls(docker: Docker, tmp_path: Path) -> None:
    world.make(tmp_path / "store")
    password_file(tmp_path, ["alice"])
    rules = [{"who": "alice", "repositories": "libtest/*", "allow": "pull"}]
    with Server(tmp_path / "store", env=environment(tmp_path / "htpasswd", rules)) as closed:
        url = f"{closed.host}/libtest/d150:latest"
        assert docker.fail("pull", url)
        assert docker.fail("login", "-u", "alice", "-p", "wrong", closed.host)
        docker.run("login", "-u", "alice", "-p", PASSWORD, closed.host)
        docker.run("pull", url)
        assert docker.image(url)["Id"] == IDS["libtest/d150"]
        assert docker.fail("pull", f"{closed.host}/team/app:1.0")


@pytest.mark.parametrize("name", NAMES)
def test_containerd_pulls(engine: Docker, server: Server, name: str) -> None:
    """The client verifies and unpacks every layer, and gets the form that it names first."""
    url = f"{server.host}/{name}:latest"
    engine.ctr("images", "pull", "--plain-http", "--snapshotter", "native", url)
    digest = get(server, f"{name}/manifests/latest").header("Docker-Content-Digest")
    assert digest
    assert engine.ctr("images", "ls", f"name=={url}").splitlines()[1].split()[2] == digest


# -- archives and layouts -----------------------------------------------------------------


def test_docker_loads_our_archive(docker: Docker, server: Server, tmp_path: Path) -> None:
    docker.run("load", "--input", str(export(server, tmp_path / "x.tar", "docker")))
    assert {name: docker.image(f"{name}:latest")["Id"] for name in NAMES} == IDS


def test_docker_loads_our_archive_as_engines_before_1_10_do(
    docker: Docker, server: Server, tmp_path: Path
) -> None:
    """Without `manifest.json`, Docker uses `repositories` and computes the image ids itself."""
    whole, old = export(server, tmp_path / "x.tar", "docker"), tmp_path / "old.tar"
    with tarfile.open(whole) as source, tarfile.open(old, "w") as target:
        for member in source:
            if member.name != "manifest.json" and not member.name.endswith(".json"):
                target.addfile(member, source.extractfile(member) if member.isfile() else None)
    docker.run("load", "--input", str(old))
    assert {name: docker.image(f"{name}:latest")["Id"] for name in NAMES} == IDS


def test_containerd_imports_our_layout(engine: Docker, server: Server, tmp_path: Path) -> None:
    layout, packed = export(server, tmp_path / "layout", "oci"), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(layout, ".")
    (engine.folder / "layout.tar").write_bytes(packed.getvalue())
    engine.ctr("images", "import", "--snapshotter", "native", str(engine.folder / "layout.tar"))
    listed = engine.ctr("images", "ls")
    for name in NAMES:
        shown = get(server, f"{name}/manifests/latest", Accept=OCI)
        assert f"{shown.header('Docker-Content-Digest')}" in listed


def test_import_of_what_docker_saves(docker: Docker, server: Server, tmp_path: Path) -> None:
    """Over v2, the imported image has the same layers."""
    for name in NAMES:
        docker.run("pull", f"{server.host}/{name}:latest")
        docker.run("tag", f"{server.host}/{name}:latest", f"{name}:latest")
    saved = docker.folder / "saved.tar"
    docker.run("save", "--output", str(saved), *(f"{name}:latest" for name in NAMES))
    call(["import", str(saved)], environ(tmp_path / "store"), 0)
    with Server(tmp_path / "store") as other:
        for name in NAMES:
            there = docker.image(f"{name}:latest")
            tag = tmp_path / "store" / "repositories" / name / "tag_latest"
            assert f"sha256:{tag.read_text()}" == there["Id"]
            config = manifest(other, name, "latest")["config"]["digest"]
            shown = get(other, f"{name}/blobs/{config}").json()
            assert shown["rootfs"]["diff_ids"] == there["RootFS"]["Layers"]
            docker.run("pull", f"{other.host}/{name}:latest")
