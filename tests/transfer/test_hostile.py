"""Archives and layouts from a broken disk, or from somebody who means ill: told, and nothing else."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import resource
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.server import ROOT
from tests.transfer.made import MadeStore, archive
from tests.transfer.run import call
from v1registry.lib.errors import Failure
from v1registry.transfer import bundles, naming
from v1registry.transfer.errors import TransferError
from v1registry.transfer.selection import Selection

JUNK: list[Any] = [None, 1, -1, 1e400, True, "", "x", "\ud800", [], {}, [1], {"digest": 1}]
JUNK += ["sha256:" + "0" * 64, "sha256:../../../../etc/passwd", "../../x", "/etc/passwd"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image as an archive, `x.tar`, and as a layout, `layout`."""
    folder = tmp_path_factory.mktemp("hostile")
    made = MadeStore(folder / "store")
    made.tag("team/app", "1", made.image(made.image(None, 3000), 2000))
    env = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(made.folder)}
    call(["export", str(folder / "x.tar"), "--format", "docker"], env, 0)
    call(["export", str(folder / "layout")], env, 0)
    return folder


def read_all(path: Path) -> None:
    """As `import` does, up to the store. Nothing comes out but what is told to people."""
    try:
        with bundles.opened(path, "linux/amd64") as bundle:
            for image in naming.wanted(bundle, Selection((), (), []), "team/x"):
                try:
                    for layer in bundle.chain(image.key):
                        for _ in layer.layer.pieces() if layer.layer else ():
                            pass
                except TransferError:
                    pass
    except (TransferError, Failure):
        pass


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_archives_with_other_bytes(
    folder: Path, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    whole, dice = pack((folder / "x.tar").read_bytes()), random.Random(3)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(dice.choice([1, 3, 20])):
            at, how = dice.randrange(len(data)), dice.random()
            if how < 0.5:
                data[at] = dice.randrange(256)
            elif how < 0.7:
                del data[at : at + dice.randrange(1, 600)]
            elif how < 0.9:
                data[at : at + dice.randrange(9)] = dice.randbytes(dice.randrange(12))
            else:
                del data[at:]
            data = data or bytearray(b"x")
        (tmp_path / "x").write_bytes(data)
        read_all(tmp_path / "x")


def changed(value: Any, dice: random.Random) -> Any:
    """The document with something else somewhere, or without something."""
    if isinstance(value, dict) and value and dice.random() < 0.8:
        name = dice.choice(list(value))
        if dice.random() < 0.2:
            return {key: inner for key, inner in value.items() if key != name}
        return {**value, name: changed(value[name], dice)}
    if isinstance(value, list) and value and dice.random() < 0.8:
        at = dice.randrange(len(value))
        return [*value[:at], changed(value[at], dice), *value[at + 1 :]]
    return dice.choice(JUNK)


def test_archives_with_other_documents(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(folder / "x.tar") as source:
        members = {m.name: source.extractfile(m).read() for m in source if m.isfile()}  # type: ignore[union-attr]
    names = [name for name in members if name.endswith("json") or name == "repositories"]
    dice = random.Random(4)
    for number in range(500):
        files = dict(members)
        name = dice.choice(names)
        files[name] = json.dumps(changed(json.loads(files[name]), dice)).encode()
        if number % 3 == 0:
            files.pop("manifest.json", None)
        (tmp_path / "x").write_bytes(archive(files))
        read_all(tmp_path / "x")


def test_layouts_with_other_documents(folder: Path) -> None:
    layout, dice = folder / "layout", random.Random(5)

    def read(descriptor: Any) -> Any:
        name = descriptor["digest"].removeprefix("sha256:")
        return json.loads((layout / "blobs/sha256" / name).read_text())

    def put(document: Any) -> dict[str, Any]:
        data = json.dumps(document).encode()
        name = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / name).write_bytes(data)
        return {"digest": f"sha256:{name}", "size": len(data)}

    index = json.loads((layout / "index.json").read_text())
    manifest = read(index["manifests"][0])
    config = read(manifest["config"])
    for _ in range(600):
        which = dice.randrange(3)
        theirs = {**manifest, "config": put(changed(config, dice) if which == 0 else config)}
        entry = put(changed(theirs, dice) if which == 1 else theirs)
        document = {**index, "manifests": [{**index["manifests"][0], **entry}]}
        document = changed(document, dice) if which == 2 else document
        (layout / "index.json").write_text(json.dumps(document))
        read_all(layout)


# -- what is told, and what is bounded ---------------------------------------------------------


def imported(path: Path, store: Path, memory: int | None = None) -> str:
    """What the command says of an archive that it cannot import; memory in bytes at most."""

    def limit() -> None:
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    done = subprocess.run(
        [sys.executable, "-m", "v1registry", "import", str(path)],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "SETTINGS_FLAVOR": "local",
            "STORAGE_PATH": str(store),
        },
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (1, 3), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (store / "repositories").exists()
    return done.stdout + done.stderr


def test_a_header_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 4 << 30
    with gzip.open(tmp_path / "x.tar", "wb", compresslevel=1) as out:
        out.write(header.tobuf(tarfile.PAX_FORMAT))
        for _ in range(300):
            out.write(bytes(1 << 20))
    text = imported(tmp_path / "x.tar", tmp_path / "store", memory=600 << 20)
    assert "a header of 4294967296 bytes" in text


def test_members_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v1registry.transfer.tarball._MOST_MEMBERS", 10)
    (tmp_path / "x").write_bytes(archive({str(number): b"" for number in range(11)}))
    with (
        pytest.raises(TransferError, match="more than 10 members"),
        bundles.opened(tmp_path / "x", ""),
    ):
        pass


def test_links_and_names_lead_nowhere(tmp_path: Path) -> None:
    """Nothing is unpacked: a name with `..` is one within the archive, a link out of it none."""
    id, out = "a" * 64, io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in {
            "repositories": json.dumps({"team/app": {"1": id}}).encode(),
            f"{id}/json": json.dumps({"id": id}).encode(),
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo(f"{id}/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../../../etc/passwd"
        tar.addfile(link)
    (tmp_path / "x.tar").write_bytes(out.getvalue())
    text = imported(tmp_path / "x.tar", tmp_path / "store")
    assert "the archive lacks" in text
    assert "root:" not in text


def test_a_damaged_archive_is_told_in_one_line(folder: Path, tmp_path: Path) -> None:
    data = bytearray(gzip.compress((folder / "x.tar").read_bytes()))
    data[len(data) // 2 : len(data) // 2 + 64] = b"\xff" * 64
    (tmp_path / "x.tar").write_bytes(data)
    text = imported(tmp_path / "x.tar", tmp_path / "store")
    assert "the archive cannot be read" in text or "is neither an archive" in text
