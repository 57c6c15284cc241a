"""The commands `export` and `import`, with layouts and archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.index.conftest import open_database
from tests.live_server import ROOT, Server
from tests.needs import needs
from tests.transfer.made import MadeStore, archive
from tests.transfer.run import call
from tests.transfer.test_migrate import GOLDEN, IDS
from v1registry.index.repositories import RepositoryRecords
from v1registry.lib.names import RepositoryName

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def run(store: Path, *arguments: str, status: int = 0) -> tuple[str, str]:
    """Run the command on a store, and return standard output and error."""
    return call(arguments, {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(store)}, status)


def report(store: Path, *arguments: str, status: int = 0) -> dict[str, Any]:
    out, _ = run(store, *arguments, "--json", "--quiet", status=status)
    document: dict[str, Any] = json.loads(out)
    return document


def skopeo(*arguments: str) -> str:
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    store = tmp_path / "golden"
    shutil.copytree(GOLDEN / "store-0.9.1", store)
    return store


def parts(store: Path, id: str) -> dict[str, bytes]:
    """Return the files of an image."""
    names = ("json", "layer", "ancestry", "_checksum")
    return {name: (store / "images" / id / name).read_bytes() for name in names}


def tags(store: Path) -> dict[str, str]:
    found = store.glob("repositories/*/*/tag_*")
    return {f"{p.parent.parent.name}/{p.parent.name}:{p.name[4:]}": p.read_text() for p in found}


# -- layouts ---------------------------------------------------------------------------


def test_a_layout_is_complete(golden: Path, tmp_path: Path) -> None:
    run(golden, "export", str(tmp_path / "oci"), "--tags", "latest")
    index = json.loads((tmp_path / "oci/index.json").read_text())
    assert len(index["manifests"]) == len(IDS)
    blobs = list((tmp_path / "oci/blobs/sha256").iterdir())
    for blob in blobs:
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    named = set()
    for entry in index["manifests"]:
        manifest = json.loads(blob_of(tmp_path / "oci", entry["digest"]))
        named |= {entry["digest"], manifest["config"]["digest"]}
        named |= {layer["digest"] for layer in manifest["layers"]}
        name = entry["annotations"]["org.opencontainers.image.ref.name"].removesuffix(":latest")
        assert manifest["config"]["digest"] == IDS[name]
    assert named == {f"sha256:{blob.name}" for blob in blobs}


def blob_of(layout: Path, digest: str) -> bytes:
    return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_unreadable_tags_are_named(golden: Path, tmp_path: Path, form: str) -> None:
    folder = golden / "repositories/libtest/d150"
    (folder / "tag_empty").write_bytes(b"")
    told = report(
        golden, "export", str(tmp_path / "to"), "--format", form, "--repositories", "libtest/d150",
        "--tags", "latest", "--tags", "empty", status=3,
    )  # fmt: skip
    states = {line["tag"]: (line["state"], line["reason"]) for line in told["images"]}
    assert states["latest"] == ("exported", None)
    state, reason = states["empty"]
    assert state == "failed"
    assert reason.startswith("the file of the tag holds no image id")
    (folder / "tag_latest").unlink()
    arguments = ("export", str(tmp_path / "none"), "--repositories", "*/d150", "--tags", "[el]*")
    out, _ = run(golden, *arguments, "--quiet", status=3)
    assert "failed      libtest/d150:empty: the file of the tag" in out


@needs("skopeo")
def test_skopeo_reads_both_formats(golden: Path, tmp_path: Path) -> None:
    run(golden, "export", str(tmp_path / "oci"), "--tags", "latest")
    run(golden, "export", str(tmp_path / "all.tar"), "--format", "docker", "--tags", "latest")
    for name, image_id in IDS.items():
        for kind, place in (("oci", tmp_path / "oci"), ("docker-archive", tmp_path / "all.tar")):
            to = tmp_path / f"{kind}-{name.replace('/', '-')}"
            skopeo("copy", f"{kind}:{place}:{name}:latest", f"dir:{to}")
            config = json.loads((to / "manifest.json").read_text())["config"]["digest"]
            assert config == image_id


def test_images_are_added_to_a_layout(golden: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "oci")
    run(golden, "export", place, "--repositories", "*/d101", "--tags", "latest")
    again = report(golden, "export", place, "--repositories", "*/d1?1", "--repositories", "*/d1??6",
                   "--tags", "latest")  # fmt: skip
    assert again["totals"]["blobs_present"] == 3
    index = json.loads((tmp_path / "oci/index.json").read_text())
    assert len(index["manifests"]) == 2


def test_another_folder_is_not_written_into(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/text").write_text("mine")
    _, error = run(golden, "export", str(tmp_path / "notes"), status=1)
    assert "not empty, and not an OCI layout" in error
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["text"]


# -- archives --------------------------------------------------------------------------


def test_an_archive_holds_both_formats(golden: Path, tmp_path: Path) -> None:
    run(golden, "export", str(tmp_path / "a.tar"), "--format", "docker", "--tags", "latest",
        "--repositories", "*/d150")  # fmt: skip
    with tarfile.open(tmp_path / "a.tar") as tar:
        read = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}
    id = tags(golden)["libtest/d150:latest"]
    (entry,) = json.loads(read["manifest.json"])
    assert entry["RepoTags"] == ["libtest/d150:latest"]
    assert f"sha256:{hashlib.sha256(read[entry['Config']]).hexdigest()}" == IDS["libtest/d150"]
    assert json.loads(read["repositories"]) == {"libtest/d150": {"latest": id}}
    config = json.loads(read[entry["Config"]])
    for name, diff_id in zip(entry["Layers"], config["rootfs"]["diff_ids"], strict=True):
        assert f"sha256:{hashlib.sha256(read[name]).hexdigest()}" == diff_id
        folder = name.partition("/")[0]
        assert read[f"{folder}/VERSION"] == b"1.0"
        assert read[f"{folder}/json"] == parts(golden, folder)["json"]


def test_an_archive_to_standard_output(golden: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "v1registry", "export", "-", "--format", "docker", "--tags",
         "latest", "--quiet"],
        cwd=ROOT, capture_output=True, timeout=60, check=True,
        env={"PATH": os.environ["PATH"], "SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(golden)},
    )  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert "manifest.json" in tar.getnames()
    assert b"images: 4 exported" in done.stderr


def test_nothing_is_left_of_an_archive_that_could_not_be_written(
    golden: Path, tmp_path: Path
) -> None:
    _, error = run(golden, "export", str(tmp_path / "no/a.tar"), "--format", "docker", status=1)
    assert "No such file" in error
    assert not (tmp_path / "no").exists()


# -- import ----------------------------------------------------------------------------


def test_an_exported_archive_imports_the_same_images(golden: Path, tmp_path: Path) -> None:
    run(golden, "export", str(tmp_path / "a.tar"), "--format", "docker", "--tags", "latest")
    store = tmp_path / "store"
    assert report(store, "import", str(tmp_path / "a.tar"))["totals"]["imported"] == 4
    assert tags(store) == {k: v for k, v in tags(golden).items() if k.endswith(":latest")}
    for id in tags(store).values():
        ours, theirs = parts(store, id), parts(golden, id)
        assert ours["json"] == theirs["json"]
        assert json.loads(ours["ancestry"]) == json.loads(theirs["ancestry"])
        assert gzip.decompress(ours["layer"]) == gzip.decompress(theirs["layer"])
        payload = hashlib.sha256(ours["json"] + b"\n" + ours["layer"]).hexdigest()
        assert json.loads(ours["_checksum"]) == [f"sha256:{payload}"]
    again = report(store, "import", str(tmp_path / "a.tar"))
    assert (again["totals"]["there"], again["totals"]["bytes_sent"]) == (4, 0)


def test_imported_images_are_pulled_over_v1(golden: Path, tmp_path: Path) -> None:
    run(golden, "export", str(tmp_path / "oci"), "--tags", "latest", "--repositories", "*/d183")
    store = tmp_path / "store"
    run(store, "import", str(tmp_path / "oci"), "--map", "libtest/=apps/")
    with Server(store) as server:
        import requests

        id = requests.get(f"{server.url}/v1/repositories/apps/d183/tags/latest", timeout=10).json()
        assert id == IDS["libtest/d183"].removeprefix("sha256:")
        images = f"{server.url}/v1/images"
        ancestry = requests.get(f"{images}/{id}/ancestry", timeout=10).json()
        assert len(ancestry) == 3
        for image in ancestry:
            document = requests.get(f"{images}/{image}/json", timeout=10).json()
            assert document["id"] == image
            assert requests.get(f"{images}/{image}/layer", timeout=10).status_code == 200
        listed = requests.get(f"{server.url}/v1/repositories/apps/d183/images", timeout=10).json()
        assert {item["id"] for item in listed} == set(ancestry)


def test_an_image_gets_the_same_ids_from_every_tool(golden: Path, tmp_path: Path) -> None:
    run(golden, "export", str(tmp_path / "oci"), "--tags", "latest")
    one, two = tmp_path / "one", tmp_path / "two"
    run(one, "import", str(tmp_path / "oci"))
    run(two, "import", str(tmp_path / "oci"), "--repositories", "*/d150")
    assert tags(two).items() <= tags(one).items()
    id = tags(two)["libtest/d150:latest"]
    assert parts(one, id) == parts(two, id)


@needs("skopeo")
def test_an_archive_that_skopeo_wrote(golden: Path, tmp_path: Path) -> None:
    """Its old format is derived from the configuration, so the configuration is used."""
    run(golden, "export", str(tmp_path / "oci"), "--tags", "latest", "--repositories", "*/d150")
    skopeo("copy", f"oci:{tmp_path / 'oci'}:libtest/d150:latest",
           f"docker-archive:{tmp_path / 'a.tar'}:team/app:1")  # fmt: skip
    (line,) = report(tmp_path / "store", "import", str(tmp_path / "a.tar"))["images"]
    assert (line["repository"], line["tag"]) == ("team/app", "1")
    assert f"sha256:{line['v1_id']}" == IDS["libtest/d150"]


# -- bundles of the tests ----------------------------------------------------------------


class MadeLayout:
    """An OCI layout that the test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.manifests: list[dict[str, Any]] = []

    def blob(self, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data), "mediaType": "x"}

    def image(self, layers: list[bytes], diff_ids: list[str], **more: Any) -> dict[str, Any]:
        config = {"os": "linux", "architecture": "amd64", **more}
        config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
        manifest = {
            "schemaVersion": 2,
            "config": self.blob(json.dumps(config).encode()),
            "layers": [self.blob(layer) for layer in layers],
        }
        return self.blob(json.dumps(manifest).encode())

    def name(self, descriptor: dict[str, Any], name: str | None) -> None:
        if name is not None:
            descriptor = {
                **descriptor,
                "annotations": {"org.opencontainers.image.ref.name": name},
            }
        self.manifests.append(descriptor)
        index = {"schemaVersion": 2, "manifests": self.manifests}
        (self.folder / "index.json").write_text(json.dumps(index))


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


PLAIN = archive({"etc/hello": b"hi"})


@pytest.fixture
def layout(tmp_path: Path) -> MadeLayout:
    return MadeLayout(tmp_path / "layout")


def test_layers_of_every_compression(layout: MadeLayout, tmp_path: Path) -> None:
    import bz2
    import lzma

    import zstandard

    plain = [archive({f"f{n}": b"x" * n}) for n in range(5)]
    packed = [
        plain[0],
        gzip.compress(plain[1]),
        bz2.compress(plain[2]),
        lzma.compress(plain[3]),
        zstandard.compress(plain[4]),
    ]
    layout.name(layout.image(packed, [sha(data) for data in plain]), "team/app:1")
    store = tmp_path / "store"
    (line,) = report(store, "import", str(layout.folder))["images"]
    ancestry = json.loads(parts(store, line["v1_id"])["ancestry"])
    stored = [parts(store, id)["layer"] for id in reversed(ancestry)]
    assert [gzip.decompress(data) for data in stored] == plain
    assert stored[1] == packed[1]  # unchanged


def test_an_index_is_followed_for_the_platform(layout: MadeLayout, tmp_path: Path) -> None:
    entries = []
    for architecture in ("arm64", "amd64"):
        image = layout.image([PLAIN], [sha(PLAIN)], architecture=architecture)
        entries.append({**image, "platform": {"os": "linux", "architecture": architecture}})
    layout.name(layout.blob(json.dumps({"manifests": entries}).encode()), "team/app:1")
    store = tmp_path / "store"
    (line,) = report(store, "import", str(layout.folder))["images"]
    assert json.loads(parts(store, line["v1_id"])["json"])["architecture"] == "amd64"
    arguments = ("--platform", "linux/s390x", "--map", "team/app=team/other")
    (line,) = report(store, "import", str(layout.folder), *arguments, status=3)["images"]
    assert (
        "no image for linux/s390x (--platform); there are: linux/arm64, linux/amd64"
        in line["reason"]
    )


def test_names_that_are_only_tags(layout: MadeLayout, tmp_path: Path) -> None:
    layout.name(layout.image([PLAIN], [sha(PLAIN)]), "1.0")
    _, error = run(tmp_path / "store", "import", str(layout.folder), "--repository", "team/app")
    assert "imported team/app:1.0" in error


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        ("layer", "is damaged"),
        ("diff", "is not the one that the configuration names"),
        ("cut", "cut off"),
        ("missing", "is missing from the layout"),
        ("count", "names 2 layers, but there are 1"),
        ("traversal", "is not a sha256 digest"),
    ],
)
def test_broken_layouts_lose_nothing(
    layout: MadeLayout, tmp_path: Path, break_it: str, reason: str
) -> None:
    packed = gzip.compress(PLAIN)
    layers, diff_ids = [packed], [sha(PLAIN)]
    if break_it == "diff":
        diff_ids = [sha(b"other")]
    elif break_it == "cut":
        layers = [packed[:-9]]
    elif break_it == "count":
        diff_ids = diff_ids * 2
    descriptor = layout.image(layers, diff_ids)
    blobs = layout.folder / "blobs/sha256"
    if break_it == "layer":
        (blobs / sha(packed).removeprefix("sha256:")).write_bytes(packed[:-4] + b"abcd")
    elif break_it == "missing":
        (blobs / sha(packed).removeprefix("sha256:")).unlink()
    elif break_it == "traversal":
        descriptor["digest"] = "sha256:../../../../etc/passwd"
    layout.name(descriptor, "team/bad:1")
    layout.name(
        layout.image([archive({"good": b""})], [sha(archive({"good": b""}))]), "team/good:1"
    )
    store = tmp_path / "store"
    lines = report(store, "import", str(layout.folder), status=3)["images"]
    (bad,) = [line for line in lines if line["state"] == "failed"]
    assert reason in bad["reason"]
    assert set(tags(store)) == {"team/good:1"}


@pytest.mark.parametrize("content", [b"", b"no tar", b"\x1f\x8bno gzip", archive({"a": b""})])
def test_files_that_are_not_bundles(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    _, error = run(tmp_path / "store", "import", str(tmp_path / "file"), status=1)
    assert "the archive cannot be read" in error or "neither an archive" in error
    assert "Traceback" not in error


def old_archive(files: dict[str, bytes], path: Path) -> Path:
    path.write_bytes(archive(files))
    return path


def test_an_archive_of_old_engines(tmp_path: Path) -> None:
    base, top = "a" * 64, "b" * 64
    files = {
        "repositories": json.dumps({"busybox": {"latest": top}}).encode(),
        f"{base}/VERSION": b"1.0",
        f"{base}/json": json.dumps({"id": base}).encode(),
        f"{base}/layer.tar": PLAIN,
        f"{top}/VERSION": b"1.0",
        f"{top}/json": json.dumps({"id": top, "parent": base}).encode(),
        f"{top}/layer.tar": archive({}),
    }
    store = tmp_path / "store"
    run(store, "import", str(old_archive(files, tmp_path / "old.tar")))
    assert tags(store) == {"library/busybox:latest": top}
    assert json.loads(parts(store, top)["ancestry"]) == [top, base]
    assert gzip.decompress(parts(store, base)["layer"]) == PLAIN


def test_another_image_with_the_same_id_is_refused(tmp_path: Path) -> None:
    id = "a" * 64
    store = tmp_path / "store"
    for author in ("ann", "bob"):
        files = {
            "repositories": json.dumps({f"team/{author}": {"1": id}}).encode(),
            f"{id}/json": json.dumps({"id": id, "author": author}).encode(),
            f"{id}/layer.tar": PLAIN,
        }
        old_archive(files, tmp_path / f"{author}.tar")
    run(store, "import", str(tmp_path / "ann.tar"))
    (line,) = report(store, "import", str(tmp_path / "bob.tar"), status=3)["images"]
    assert "the store has another image with the id" in line["reason"]
    assert set(tags(store)) == {"team/ann:1"}


def test_a_circle_of_parents_is_refused(tmp_path: Path) -> None:
    one, two = "a" * 64, "b" * 64
    files = {
        "repositories": json.dumps({"team/app": {"1": one}}).encode(),
        f"{one}/json": json.dumps({"id": one, "parent": two}).encode(),
        f"{one}/layer.tar": PLAIN,
        f"{two}/json": json.dumps({"id": two, "parent": one}).encode(),
        f"{two}/layer.tar": PLAIN,
    }
    path = old_archive(files, tmp_path / "old.tar")
    _, error = run(tmp_path / "store", "import", str(path), status=1)
    assert "form a circle" in error


def test_a_made_store_there_and_back(tmp_path: Path) -> None:
    """With every compression of layers, through an archive and a layout."""
    made = MadeStore(tmp_path / "made")
    top = None
    for packing in ("tar", "gzip", "bzip2", "xz"):
        top = made.image(top, 3000, packing)
    assert top is not None
    made.tag("team/app", "1", top)
    run(made.folder, "export", str(tmp_path / "oci"))
    run(made.folder, "export", str(tmp_path / "a.tar"), "--format", "docker")
    one = report(tmp_path / "one", "import", str(tmp_path / "oci"))["images"][0]
    two = report(tmp_path / "two", "import", str(tmp_path / "a.tar"))["images"][0]
    assert two["v1_id"] == top
    assert one["layers"] == two["layers"] == 4


def test_an_import_into_a_registry_with_an_index(golden: Path, tmp_path: Path) -> None:
    """As in a push, the index gets the repository with the default visibility, also after a deletion."""
    run(golden, "export", str(tmp_path / "all.tar"), "--tags", "latest")
    store = tmp_path / "store"
    url = f"sqlite:///{tmp_path}/index.db"
    env = {
        "SETTINGS_FLAVOR": "local",
        "STORAGE_PATH": str(store),
        "INDEX_DATABASE": url,
        "INDEX_PRIVATE": "true",
    }
    call(("import", str(tmp_path / "all.tar")), env, 0)
    database = open_database(url)
    repositories = RepositoryRecords(database, private=False)
    known = repositories.all()
    assert {row.name for row in known} == {tag.partition(":")[0] for tag in tags(store)}
    for row in known:
        assert row.is_private
        assert (store / "repositories" / row.name / "_private").exists()
        repositories.delete(RepositoryName.parse(row.name))
        shutil.rmtree(store / "repositories" / row.name)
    call(("import", str(tmp_path / "all.tar")), {**env, "INDEX_PRIVATE": "false"}, 0)
    again = repositories.all()
    assert [row.name for row in again] == [row.name for row in known]
    assert all(row.is_private for row in again)
    database.close()
