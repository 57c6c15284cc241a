"""Damaged and hostile archives and layouts: they cause an error message and nothing else."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import re
import resource
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.lib.tars import hostile_tars, member, tar
from tests.live_server import ROOT
from tests.transfer.made import MadeStore, archive
from tests.transfer.run import call
from v1registry.lib.errors import Failure
from v1registry.transfer import bundles, selection
from v1registry.transfer.archive import ArchiveReader
from v1registry.transfer.errors import TransferError
from v1registry.transfer.selection import Selection

JUNK: list[Any] = [None, 1, -1, 1e400, True, "", "x", "\ud800", [], {}, [1], {"digest": 1}]
JUNK += ["sha256:" + "0" * 64, "sha256:../../../../etc/passwd", "../../x", "/etc/passwd"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an image as an archive, `x.tar`, and as a layout, `layout`."""
    folder = tmp_path_factory.mktemp("hostile")
    made = MadeStore(folder / "store")
    made.tag("team/app", "1", made.image(made.image(None, 3000), 2000))
    env = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(made.folder)}
    call(["export", str(folder / "x.tar"), "--format", "docker"], env, 0)
    call(["export", str(folder / "layout")], env, 0)
    return folder


def read_all(path: Path) -> None:
    """Read a bundle as `import` does. Only TransferError is allowed."""
    try:
        with bundles.opened(path, "linux/amd64", 1 << 30) as bundle:
            for image in selection.selected_images(bundle, Selection((), (), []), "team/x"):
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
    """Return the document with a random change or deletion."""
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


# -- any archive ---------------------------------------------------------------------------------

PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}
PACKING = st.sampled_from(list(PACK))
NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "./c", "n" * 120, "ü"])
LINKS = st.sampled_from(["a", "b", "../a", "d/a", "./e/a", "e/a", "../../x", "/a", "missing"])
MEMBERS = st.lists(
    st.builds(member, NAMES, st.binary(max_size=1500))
    | st.builds(lambda name, to: member(name, type=tarfile.SYMTYPE, linkname=to), NAMES, LINKS),
    max_size=6,
)
FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FEW
@given(MEMBERS, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), PACKING)
def test_members_equal_what_tarfile_reads(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], format: int, packing: str
) -> None:
    data = tar(members, format)
    (tmp_path / "x").write_bytes(PACK[packing](data))
    with (
        (tmp_path / "x").open("rb") as file,
        tarfile.open(fileobj=io.BytesIO(data)) as expected,
    ):
        reader = ArchiveReader(file, 1 << 20)
        for info in reversed(expected.getmembers()):  # from the end, so that each needs a new pass
            last = expected.getmember(info.name)
            assert info.name in reader
            if last.isfile():
                assert reader.size(info.name) == last.size
                assert reader.read(info.name) == expected.extractfile(last).read()  # type: ignore[union-attr]
                continue
            try:
                found = reader.read(info.name)
            except TransferError:
                continue  # tarfile follows fewer links, and none that lead out
            assert found in [content for _, content in members]
            with contextlib.suppress(KeyError, RecursionError):
                linked = expected.extractfile(last)
                assert linked is None or found == linked.read()


@FEW
@example(bytes(512), "zstd", (1.0, 0))
@given(hostile_tars(), PACKING, st.none() | st.tuples(st.floats(0, 1), st.integers(0, 255)))
def test_any_archive_gives_members_or_one_error(
    tmp_path: Path, data: bytes, packing: str, damage: tuple[float, int] | None
) -> None:
    packed = bytearray(PACK[packing](data)) or bytearray(1)
    if damage is not None:
        packed[int(damage[0] * (len(packed) - 1))] = damage[1]
    (tmp_path / "x").write_bytes(packed)
    del data, packed
    tracemalloc.start()
    try:
        with (tmp_path / "x").open("rb") as file:
            reader = ArchiveReader(file, 1 << 22)
            for name in ("a", "f", "n" * 100, "b"):
                with contextlib.suppress(TransferError):
                    for _ in reader.pieces(name):
                        pass
    except TransferError:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 16 << 20


@FEW
@given(st.randoms(use_true_random=False), st.sampled_from(["index", "manifest", "config"]), PACKING)
def test_layouts_in_a_tar_with_other_documents(
    folder: Path, tmp_path: Path, dice: random.Random, which: str, packing: str
) -> None:
    layout = folder / "layout"
    files = {
        str(path.relative_to(layout)): path.read_bytes()
        for path in sorted(layout.rglob("*"))
        if path.is_file()
    }

    def document(kind: str, entry: Any) -> Any:
        value = json.loads(files["blobs/sha256/" + entry["digest"].removeprefix("sha256:")])
        return changed(value, dice) if kind == which else value

    def put(value: Any) -> dict[str, Any]:
        data = json.dumps(value).encode()
        name = hashlib.sha256(data).hexdigest()
        files[f"blobs/sha256/{name}"] = data
        return {"digest": f"sha256:{name}", "size": len(data)}

    index = json.loads(files["index.json"])
    manifest = document("manifest", index["manifests"][0])
    if isinstance(manifest, dict) and which == "config":
        manifest["config"] = {**manifest["config"], **put(document("config", manifest["config"]))}
    index["manifests"][0].update(put(manifest))
    files["index.json"] = json.dumps(changed(index, dice) if which == "index" else index).encode()
    (tmp_path / "x").write_bytes(PACK[packing](archive(files)))
    read_all(tmp_path / "x")


# -- messages and limits -----------------------------------------------------------------------


def imported(path: Path, store: Path, memory: int | None = None) -> str:
    """Return the message for an archive that cannot be imported; `memory` is a limit in bytes."""

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
    assert "extended headers of 4294967296 bytes" in text


def packed(path: Path, pieces: Iterable[bytes]) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as out:
        for piece in pieces:
            out.write(piece)
    return path


def pax(name: str, records: bytes) -> bytes:
    """Return a pax header with these records, and an empty file."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    file = tarfile.TarInfo(name)
    return (
        header.tobuf(tarfile.GNU_FORMAT)
        + records
        + bytes(-len(records) % 512)
        + file.tobuf(tarfile.GNU_FORMAT)
    )


def sparse(name: str, size: int = 0, *, more: bool = False) -> bytes:
    """Return the header of an old GNU sparse file; `more`: blocks of its map follow."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"%011o\0" % size
    block[156:157] = b"S"
    block[482] = more
    block[483:495] = b"%011o\0" % (1 << 20)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_extended_headers_of_many_members_do_not_fill_the_memory(tmp_path: Path) -> None:
    """They are limited for each member, and not kept."""
    record = b"1000010 SCHILY.xattr.user.x=" + b"x" * (1000010 - 29) + b"\n"
    pieces = (pax(f"file{number}", record) for number in range(700))
    text = imported(packed(tmp_path / "x.tar", pieces), tmp_path / "store", memory=600 << 20)
    assert "is neither an archive of `docker save` nor" in text


def test_names_without_end_do_not_fill_the_memory(tmp_path: Path) -> None:
    record = b"900000 path=" + b"x" * (900000 - 13) + b"\n"
    path = packed(tmp_path / "x.tar", (pax("x", record) for _ in range(700)))
    assert "a name has more than 4096 characters" in imported(path, tmp_path / "s", 600 << 20)
    record = b"4010 path=%d" + b"x" * (4010 - 16) + b"\n"
    path = packed(tmp_path / "x.tar", (pax("x", record % (n + 10000)) for n in range(9000)))
    assert "its names have more than" in imported(path, tmp_path / "s")


def test_extended_headers_in_a_row_are_one_line(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    path = packed(tmp_path / "x.tar", (header.tobuf(tarfile.GNU_FORMAT) for _ in range(20_000)))
    assert "more than 10000 pax records before one entry" in imported(path, tmp_path / "store")


def test_a_sparse_map_without_end_is_refused(tmp_path: Path) -> None:
    block = b"00000000001 00000000001 " * 21 + b"\1" + bytes(7)
    pieces = [sparse("x", more=True), *[block * 2000] * 100]
    text = imported(packed(tmp_path / "x.tar", pieces), tmp_path / "store", memory=600 << 20)
    assert "the map of a sparse file has more than 50000 blocks" in text


def test_a_sparse_map_that_is_cut_off_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(sparse("x", more=True) + b"0000")
    text = imported(tmp_path / "x.tar", tmp_path / "store")
    assert "the archive is cut off inside a sparse map" in text


def test_a_sparse_layer_is_named(tmp_path: Path) -> None:
    id, data = "a" * 64, json.dumps({"team/app": {"1": "a" * 64}}).encode()
    files = archive({"repositories": data, f"{id}/json": json.dumps({"id": id}).encode()})
    files = files[: files.rindex(b"}") // 512 * 512 + 512]
    (tmp_path / "x.tar").write_bytes(files + sparse(f"{id}/layer.tar", 512) + bytes(2048))
    text = imported(tmp_path / "x.tar", tmp_path / "store")
    assert f"{id}/layer.tar in the archive is a sparse file" in text


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    big = tarfile.TarInfo("x")
    big.size = 100 << 20
    path = packed(tmp_path / "x.tar", [big.tobuf(), *[bytes(1 << 20)] * 101])
    limit = f"it holds more than {max(30 << 20, 20 * path.stat().st_size)} bytes"
    with (
        pytest.raises(TransferError, match=limit),
        bundles.opened(path, "linux/amd64", 30 << 20),
    ):
        pass


def test_the_json_of_ancestors_does_not_fill_the_memory(tmp_path: Path) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        yield "repositories", json.dumps({"team/app": {"1": f"{99:064x}"}}).encode()
        for number in range(100):
            id = f"{number:064x}"
            parent = {"parent": f"{number - 1:064x}"} if number else {}
            yield f"{id}/json", json.dumps({"id": id, **parent}).encode() + b" " * (7 << 20)
            yield f"{id}/layer.tar", b""

    with tarfile.open(tmp_path / "x.tar", "w:gz", compresslevel=1) as tar:
        for name, data in files():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    text = imported(tmp_path / "x.tar", tmp_path / "store", memory=600 << 20)
    assert "and its ancestors have more than 67108864 bytes of JSON" in text


def test_names_do_not_write_to_the_terminal(tmp_path: Path) -> None:
    names = ["\x1b[2J\ud800:1", "a\nv1registry: all is well:1"]
    for name in names:
        entry = {"Config": "c", "RepoTags": [name], "Layers": []}
        (tmp_path / "x").write_bytes(archive({"manifest.json": json.dumps([entry]).encode()}))
        text = imported(tmp_path / "x", tmp_path / "store")
        lines = [line for line in text.splitlines() if "warning" not in line]
        lines = [line for line in lines if not re.match("v1registry: (store: |a new store)", line)]
        assert len(lines) == 1, text
        assert "\x1b" not in text
        assert "\\x1b[2J\\ud800:1" in text or "a\\nv1registry" in text


def test_tags_without_end_are_refused(tmp_path: Path) -> None:
    id = "a" * 64
    files = {
        "repositories": json.dumps({"team/app": {str(n): id for n in range(10_001)}}).encode(),
        f"{id}/json": json.dumps({"id": id}).encode(),
        f"{id}/layer.tar": bytes(1024),
    }
    (tmp_path / "x").write_bytes(archive(files))
    text = imported(tmp_path / "x", tmp_path / "store")
    assert "there are more than 10000 images: choose with --repositories or --tags" in text


def test_a_named_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    assert "is neither a file nor a folder" in imported(tmp_path / "x", tmp_path / "store")


def test_members_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v1registry.transfer.archive._MOST_MEMBERS", 10)
    (tmp_path / "x").write_bytes(archive({str(number): b"" for number in range(11)}))
    with (
        pytest.raises(TransferError, match="more than 10 entries"),
        bundles.opened(tmp_path / "x", "linux/amd64", 1 << 30),
    ):
        pass


def test_links_and_names_do_not_leave_the_archive(tmp_path: Path) -> None:
    """Nothing is unpacked to disk: `..` stays within the archive, and links out of it are errors."""
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
    assert "is missing from the archive" in text
    assert "root:" not in text


def test_a_damaged_archive_is_reported_in_one_line(folder: Path, tmp_path: Path) -> None:
    data = bytearray(gzip.compress((folder / "x.tar").read_bytes()))
    data[len(data) // 2 : len(data) // 2 + 64] = b"\xff" * 64
    (tmp_path / "x.tar").write_bytes(data)
    text = imported(tmp_path / "x.tar", tmp_path / "store")
    assert "the archive cannot be read" in text or "is neither an archive" in text
