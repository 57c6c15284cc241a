"""OCI layouts of other tools: as tar archives, compressed, for several platforms."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.live_server import ROOT
from tests.needs import needs
from tests.transfer.made import MadeStore, archive
from tests.transfer.test_bundle import MadeLayout, parts, report, run, sha, skopeo, tags
from v1registry.transfer import platforms
from v1registry.transfer.errors import TransferError

PLAIN = archive({"etc/hello": b"hi"})


@pytest.fixture
def layout(tmp_path: Path) -> MadeLayout:
    return MadeLayout(tmp_path / "layout")


def as_tar(folder: Path, prefix: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(folder, arcname=prefix or "/")
    return out.getvalue()


# -- archives ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress]
)
@pytest.mark.parametrize("prefix", ["", "."])
def test_a_layout_in_an_archive(
    layout: MadeLayout, tmp_path: Path, pack: Callable[[bytes], bytes], prefix: str
) -> None:
    layers = [archive({f"f{number}": bytes(5000)}) for number in range(3)]
    image = layout.image([gzip.compress(one) for one in layers], [sha(one) for one in layers])
    layout.name(image, "docker.io/team/app:1")
    (tmp_path / "x.tar").write_bytes(pack(as_tar(layout.folder, prefix)))
    (line,) = report(tmp_path / "a", "import", str(tmp_path / "x.tar"))["images"]
    (other,) = report(tmp_path / "b", "import", str(layout.folder))["images"]
    assert line["v1_id"] == other["v1_id"]
    assert tags(tmp_path / "a") == {"team/app:1": line["v1_id"]}
    for id in json.loads(parts(tmp_path / "a", line["v1_id"])["ancestry"]):
        assert parts(tmp_path / "a", id) == parts(tmp_path / "b", id)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_an_archive_of_docker_save_that_is_compressed(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    made = MadeStore(tmp_path / "store")
    made.tag("team/app", "1", made.image(made.image(None, 3000), 2000))
    run(made.folder, "export", str(tmp_path / "x.tar"), "--format", "docker")
    (tmp_path / "x.tar.packed").write_bytes(pack((tmp_path / "x.tar").read_bytes()))
    run(tmp_path / "again", "import", str(tmp_path / "x.tar.packed"))
    assert tags(tmp_path / "again") == tags(made.folder)


def test_without_zstandard_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(zstandard.compress(archive({})))
    code = "import sys; sys.modules['zstandard'] = None; from v1registry.commands.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "import", str(tmp_path / "x")],
        cwd=ROOT,
        env={"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(tmp_path / "store")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    line = [line for line in done.stderr.splitlines() if "zstd" in line]
    assert len(line) == 1
    assert "Traceback" not in done.stderr
    assert "the archive is compressed with zstd, and zstandard is not installed" in line[0]


@needs("skopeo")
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_archives_of_skopeo(tmp_path: Path, kind: str) -> None:
    made = MadeStore(tmp_path / "store")
    made.tag("team/app", "1", made.image(made.image(None, 3000), 2000))
    run(made.folder, "export", str(tmp_path / "oci"))
    name = "docker.io/team/app:1"
    skopeo("copy", f"oci:{tmp_path / 'oci'}:team/app:1", f"{kind}:{tmp_path / 'x.tar'}:{name}")
    (line,) = report(tmp_path / "a", "import", str(tmp_path / "x.tar"))["images"]
    (other,) = report(tmp_path / "b", "import", str(tmp_path / "oci"))["images"]
    assert line["v1_id"] == other["v1_id"]
    assert tags(tmp_path / "a") == {"team/app:1": line["v1_id"]}


@needs("podman", "root")
@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_archives_of_podman(tmp_path: Path, form: str) -> None:
    made = MadeStore(tmp_path / "store")
    made.tag("team/app", "1", made.image(None, 3000))
    run(made.folder, "export", str(tmp_path / "x.tar"), "--format", "docker")
    with tempfile.TemporaryDirectory(dir="/tmp") as runroot:  # 50 characters at most
        podman = ["podman", "--root", str(tmp_path / "root"), "--runroot", runroot]
        podman += ["--storage-driver", "vfs", "--events-backend", "none"]
        for arguments in (
            ["load", "-i", str(tmp_path / "x.tar")],
            ["save", "--format", form, "-o", str(tmp_path / "y.tar"), "team/app:1"],
        ):
            done = subprocess.run(
                [*podman, *arguments], capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 0, done.stderr
    run(tmp_path / "a", "import", str(tmp_path / "y.tar"))
    assert list(tags(tmp_path / "a")) == ["team/app:1"]


# -- platforms -----------------------------------------------------------------------------------


def several(layout: MadeLayout, *names: str) -> list[dict[str, Any]]:
    """Return descriptors of an image for each platform, which its configuration names too."""
    found = []
    for name in names:
        os, architecture, variant = (*name.split("/"), "")[:3]
        platform = {"os": os, "architecture": architecture}
        if variant:
            platform["variant"] = variant
        image = layout.image([PLAIN], [sha(PLAIN)], **platform)
        found.append({**image, "platform": platform})
    return found


ATTESTATION = {
    "platform": {"os": "unknown", "architecture": "unknown"},
    "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
}
ARM = ("linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64")


def nested(layout: MadeLayout) -> None:
    attestation = {**layout.image([], []), **ATTESTATION}
    entries = [attestation, *several(layout, *ARM)]
    layout.name(layout.blob(json.dumps({"manifests": entries}).encode()), "team/app:1")


def flat(layout: MadeLayout, name: str | None = "team/app:1") -> None:
    for entry in [*several(layout, *ARM), {**layout.image([], []), **ATTESTATION}]:
        layout.name(entry, name)


@pytest.mark.parametrize("make", [nested, flat])
@pytest.mark.parametrize(
    ("platform", "chosen"),
    [
        ("linux/arm/v7", "arm/v7"),
        ("linux/arm/v6", "arm/v6"),
        ("linux/arm64", "arm64/v8"),
        ("linux/arm64/v8", "arm64/v8"),
        ("linux/aarch64", "arm64/v8"),
        ("linux/amd64", "amd64"),
        ("linux/amd64/v1", "amd64"),
        ("Linux/X86_64", "amd64"),
    ],
)
def test_the_variant_is_chosen(
    layout: MadeLayout,
    tmp_path: Path,
    make: Callable[[MadeLayout], None],
    platform: str,
    chosen: str,
) -> None:
    make(layout)
    arguments = ("import", str(layout.folder), "--platform", platform)
    (line,) = report(tmp_path / "store", *arguments)["images"]
    config = json.loads(parts(tmp_path / "store", line["v1_id"])["json"])
    assert "/".join(filter(None, (config["architecture"], config.get("variant")))) == chosen
    assert tags(tmp_path / "store") == {"team/app:1": line["v1_id"]}


@pytest.mark.parametrize("make", [nested, flat])
@pytest.mark.parametrize(
    ("platform", "reason"),
    [
        ("linux/arm", "several images for linux/arm: choose with --platform from linux/arm/v6, l"),
        ("linux/arm/v5", "no image for linux/arm/v5 (--platform); there are: linux/arm/v6, linux/"),
        ("linux/amd64/v3", "no image for linux/amd64/v3"),
        ("windows/amd64", "no image for windows/amd64"),
    ],
)
def test_choices_are_named(
    layout: MadeLayout,
    tmp_path: Path,
    make: Callable[[MadeLayout], None],
    platform: str,
    reason: str,
) -> None:
    make(layout)
    arguments = ("import", str(layout.folder), "--platform", platform)
    (line,) = report(tmp_path / "store", *arguments, status=3)["images"]
    assert reason in line["reason"]
    assert "unknown" not in line["reason"]


def test_a_flat_index_without_names(layout: MadeLayout, tmp_path: Path) -> None:
    flat(layout, None)
    _, error = run(tmp_path / "store", "import", str(layout.folder), status=1)
    assert "give it one with --repository" in error
    arguments = (
        "import",
        str(layout.folder),
        "--repository",
        "team/x",
        "--platform",
        "linux/arm64",
    )
    (line,) = report(tmp_path / "store", *arguments)["images"]
    assert tags(tmp_path / "store") == {"team/x:latest": line["v1_id"]}


def test_an_image_without_variant_is_the_default(layout: MadeLayout) -> None:
    entries = several(layout, "linux/amd64/v3", "linux/amd64", "linux/amd64/v2")
    for text, number in (("linux/amd64", 1), ("linux/amd64/v1", 1), ("linux/amd64/v2", 2)):
        assert platforms.choose(entries, platforms.parse(text)) is entries[number]
    entries = several(layout, "linux/arm/v6", "linux/arm")
    for text, number in (("linux/arm", 1), ("linux/arm/v7", 1), ("linux/arm/v6", 0)):
        assert platforms.choose(entries, platforms.parse(text)) is entries[number]


@pytest.mark.parametrize("text", ["", "linux", "linux/", "linux/arm/v7/x", "/arm"])
def test_bad_platforms_are_refused(layout: MadeLayout, tmp_path: Path, text: str) -> None:
    nested(layout)
    arguments = ("import", str(layout.folder), "--platform", text)
    _, error = run(tmp_path / "store", *arguments, status=1)
    assert "must be OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT" in error


def test_many_choices_are_not_all_named() -> None:
    entries = [{"platform": {"os": "o", "architecture": f"a{n}"}} for n in range(1000)]
    with pytest.raises(TransferError, match=r"o/a0, .*, o/a19, \.\.\.$"):
        platforms.choose(entries, platforms.parse("linux/amd64"))
    with pytest.raises(TransferError, match="there are: none"):
        platforms.choose([{}, None, {"platform": 1}], platforms.parse("linux/amd64"))
