"""A small client that pushes and pulls like Docker from 0.10, and a check of a whole store.

    image = make_image("app", layer=squeeze(some_tar, 3))
    Engine(server, "team/app").push([image], tag="v1")
    assert check_store(server.store).problems == []

The check reads only the files of protocol-v1.md section 4, as docker-registry 0.9.1 would.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import raw
from tests.live_server import Server
from tests.nginx import Nginx

CHUNK = 32 * 1024  # bytes, as Docker engines send
EXISTS = (409, "Image already exists")

# -- images -------------------------------------------------------------


@dataclass(frozen=True)
class PushedImage:
    """One image with the exact bytes that a client has."""

    id: str
    json: bytes
    layer: bytes
    parent: str | None = None

    @property
    def checksum(self) -> str:
        return simple_checksum(self.json, self.layer)


def simple_checksum(data: bytes, layer: bytes) -> str:
    """The checksum that Docker sends from 0.10."""
    return "sha256:" + hashlib.sha256(data + b"\n" + layer).hexdigest()


def image_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def make_image(
    name: str, layer: bytes, parent: PushedImage | None = None, comment: str = ""
) -> PushedImage:
    """Return an image. `comment` changes the bytes of its image JSON."""
    document = {"id": image_id(name), "comment": comment}
    if parent is not None:
        document["parent"] = parent.id
    data = json.dumps(document, indent=1).encode()
    return PushedImage(document["id"], data, layer, parent.id if parent else None)


def make_tar(seed: int, size: int) -> bytes:
    """Return an archive of one file with `size` bytes that are hard to compress."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo(f"file-{seed}")
        info.size = size
        archive.addfile(info, io.BytesIO(random.Random(seed).randbytes(size)))
    return out.getvalue()


def squeeze(tar: bytes, variant: int) -> bytes:
    """Return the tar as gzip. Each variant has different bytes, as each run of an engine has."""
    return gzip.compress(tar, compresslevel=1, mtime=1_400_000_000 + variant)


# -- pushing ----------------------------------------------------------------------


class Gone(OSError):
    """Raised if the connection ends before the whole answer."""


class Unanswered(AssertionError):
    """Raised if a step gets an answer that a Docker engine treats as a failure."""

    def __init__(self, step: str, answer: raw.Answer) -> None:
        super().__init__(f"{step}: {answer}")
        self.step = step
        self.answer = answer


@dataclass
class Promises:
    """What the server has confirmed, and what was `sent`, by all clients that share this object.

    While `void` is set nothing is noted: the disk of the server has lost its power.
    """

    finished: set[str] = field(default_factory=set)  # image ids
    sent: dict[str, set[str]] = field(default_factory=dict)  # image id -> layers' SHA-256
    tags: dict[tuple[str, str], str] = field(default_factory=dict)  # repository, tag -> id
    lists: dict[str, set[str]] = field(default_factory=dict)  # repository -> ids
    void: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, image: PushedImage) -> None:
        with self.lock:
            self.sent.setdefault(image.id, set()).add(hashlib.sha256(image.layer).hexdigest())

    def finish(self, image: PushedImage) -> None:
        with self.lock:
            if not self.void:
                self.finished.add(image.id)

    def listed(self, repository: str, images: list[PushedImage]) -> None:
        with self.lock:
            if not self.void:
                self.lists.setdefault(repository, set()).update(image.id for image in images)

    def tagged(self, repository: str, tag: str, image: PushedImage) -> None:
        with self.lock:
            if not self.void:
                self.tags[repository, tag] = image.id


class Engine:
    """A client of one repository. It notes every success in `promises`."""

    def __init__(
        self, server: Server | Nginx, repository: str, promises: Promises | None = None
    ) -> None:
        self.server = server
        self.repository = repository
        self.promises = promises or Promises()

    def push(self, images: list[PushedImage], tag: str | None = None, look: bool = True) -> None:
        """Push `images`, base first, all steps. Raise Unanswered, or OSError without an answer.

        With `look` it first requests each image, and skips it if the server has it.
        """
        items = json.dumps([{"id": image.id} for image in images]).encode()
        self.expect(200, "PUT", f"/v1/repositories/{self.repository}/", items)
        self.promises.listed(self.repository, images)
        for image in images:
            if not (look and self.ask("GET", f"/v1/images/{image.id}/json").status == 200):
                self.push_image(image)
        if tag is not None:
            self.put_tag(tag, images[-1])
        self.expect(204, "PUT", f"/v1/repositories/{self.repository}/images", b"[]")

    def push_image(self, image: PushedImage) -> str:
        """Push image JSON, layer and checksum. Return "pushed", or "exists" for the 409 that says so."""
        answer = self.put_json(image)
        if (answer.status, answer.json()) == (409, {"error": EXISTS[1]}):
            return "exists"
        self._check(200, "json", answer)
        self._check(200, "layer", self.put_layer(image))
        self._check(200, "checksum", self.put_checksum(image))
        return "pushed"

    def put_json(self, image: PushedImage) -> raw.Answer:
        return self.ask("PUT", f"/v1/images/{image.id}/json", image.json)

    def put_layer(self, image: PushedImage) -> raw.Answer:
        self.promises.send(image)
        return self.ask("PUT", f"/v1/images/{image.id}/layer", image.layer, chunk=CHUNK)

    def put_checksum(self, image: PushedImage) -> raw.Answer:
        answer = self.ask(
            "PUT",
            f"/v1/images/{image.id}/checksum",
            headers={"X-Docker-Checksum-Payload": image.checksum},
        )
        if answer.status == 200:
            self.promises.finish(image)
        return answer

    def put_tag(self, tag: str, image: PushedImage) -> None:
        path = f"/v1/repositories/{self.repository}/tags/{tag}"
        self.expect(200, "PUT", path, json.dumps(image.id).encode())
        self.promises.tagged(self.repository, tag, image)

    def pull(self, tag: str) -> dict[str, tuple[bytes, bytes]]:
        """Pull all images of a tag as an engine does; return id -> (image JSON, layer)."""
        self.expect(200, "GET", f"/v1/repositories/{self.repository}/images")
        prefix = "" if "/" in self.repository else "library/"
        tags = self.expect(200, "GET", f"/v1/repositories/{prefix}{self.repository}/tags").json()
        ids = self.expect(200, "GET", f"/v1/images/{tags[tag]}/ancestry").json()
        found = {}
        for one in reversed(ids):
            document = self.expect(200, "GET", f"/v1/images/{one}/json")
            layer = self.expect(200, "GET", f"/v1/images/{one}/layer").body
            assert document.header("X-Docker-Size") == str(len(layer))
            found[one] = (document.body, layer)
        return found

    def expect(self, status: int, method: str, path: str, body: bytes | None = None) -> raw.Answer:
        return self._check(status, f"{method} {path}", self.ask(method, path, body))

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        chunk: int | None = None,
    ) -> raw.Answer:
        """Send one request on its own connection. Raise OSError without a complete answer."""
        data = raw.encode(method, path, self.server.host, headers or {}, body, chunk)
        try:
            return raw.exchange(self.server, data, method)
        except raw.Malformed as error:
            if "the connection ended" in str(error):
                raise Gone(str(error)) from None
            raise

    def _check(self, status: int, step: str, answer: raw.Answer) -> raw.Answer:
        if answer.status != status:
            raise Unanswered(step, answer)
        return answer


def until_answered(act: Callable[[], None], seconds: float = 60) -> int:
    """Repeat an action until it is answered, as a user does; return how often it was cut off."""
    end = time.monotonic() + seconds
    cut = 0
    while True:
        try:
            act()
            return cut
        except OSError:
            cut += 1
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def run_all(acts: list[Callable[[], Any]], seconds: float = 100) -> list[Any]:
    """Run functions at the same time, each in a thread. Return their values, raise the first error."""
    values: list[Any] = [None] * len(acts)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            values[number] = acts[number]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(acts))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "a client hangs"
    return values


# -- the check of a store ------------------------------------------------------------


@dataclass
class StoreView:
    """The contents of a store. `finished`: id -> SHA-256 of the layer; `problems`: sentences."""

    finished: dict[str, str] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    remarked: set[str] = field(default_factory=set)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    lists: dict[str, set[str]] = field(default_factory=dict)
    entries: dict[str, set[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def broken_promises(self, promises: Promises) -> list[str]:
        """Return what the server has confirmed and the store does not have."""
        found = []
        for one in promises.finished - self.finished.keys():
            found.append(f"{one[:12]}: told to be finished, is not")
        for one, layer in self.finished.items():
            if layer not in promises.sent[one]:
                found.append(f"{one[:12]}: has a layer that nobody sent")
        for key, one in promises.tags.items():
            if self.tags.get(key) != one:
                found.append(f"tag {key}: {self.tags.get(key)}, not {one}")
        for repository, ids in promises.lists.items():
            held = self.lists.get(repository, set()) | self.entries.get(repository, set())
            found += [f"{repository}: its list lacks {one[:12]}" for one in ids - held]
        return found


_IMAGE_FILES = {
    "json", "layer", "ancestry", "_checksum", "_inprogress", "_commit", "_repositories", "_oci",
}  # fmt: skip
_REPOSITORY_FILES = {"_index_images", "_index_entries", "json", "_private"}


def check_store(root: Path) -> StoreView:
    """Check every file of a store, even during writes.

    An image without a mark must have matching image JSON, layer, ancestry and `_checksum`. An image
    with a mark must be invisible unless it has a commit record (`remarked`: complete, and still
    marked). Tags must point to complete images. Our files must not be where 0.x would fail on them.
    """
    view = StoreView()
    for path in root.iterdir() if root.exists() else ():
        if path.name not in ("images", "repositories", "_v1registry"):
            view.problems.append(f"a stranger in the root: {path.name}")
    tags = dict(_tags(root, view))  # before the images: an image is completed before its tag
    for folder in (root / "images").glob("*"):
        _check_image(folder, view)
    for key, one in tags.items():
        view.tags[key] = one
        if one not in view.finished:
            view.problems.append(f"tag {key} points to {one[:12]}, which is not finished")
    return view


def _check_image(folder: Path, view: StoreView) -> None:
    one = folder.name
    # The JSON is put in place only under a mark. In this order it never belongs to an incomplete image.
    shown = _read(folder / "json")
    marked = (folder / "_inprogress").exists()
    decided = (folder / "_commit").exists()
    strangers = {path.name for path in _children(folder)} - _IMAGE_FILES
    if strangers:
        view.problems.append(f"{one[:12]}: strangers {sorted(strangers)}")
    if marked and not decided:
        view.opened.add(one)
        if shown is not None and not _comes(folder, "_commit"):
            view.problems.append(f"{one[:12]}: a JSON shows and nothing decides it")
        return
    why = _why_broken(folder, shown)
    if marked:
        (view.opened if why else view.remarked).add(one)
    elif shown is None:
        # An empty folder is no problem: it was created for a mark that was not written.
        if _children(folder) and not _comes(folder, "_inprogress", "json"):
            view.problems.append(f"{one[:12]}: neither JSON nor mark, but {_children(folder)}")
        return
    elif why:
        view.problems.append(f"{one[:12]}: {why}")
    if not why:
        view.finished[one] = hashlib.sha256(_read(folder / "layer") or b"").hexdigest()


def _comes(folder: Path, *names: str) -> bool:
    """Return whether one of these files was just being written, or the folder is being deleted."""
    for _ in range(10):
        if not _children(folder) or any((folder / name).exists() for name in names):
            return True
        time.sleep(0.02)
    return False


def _why_broken(folder: Path, data: bytes | None) -> str:
    layer, ancestry, sums = (_read(folder / name) for name in ("layer", "ancestry", "_checksum"))
    if data is None or layer is None or ancestry is None or sums is None:
        return "a part is missing"
    if simple_checksum(data, layer) not in json.loads(sums):
        return "JSON, layer and checksum do not belong together"
    parent = json.loads(data).get("parent")
    above = []
    if parent:
        above = json.loads(_read(folder.parent / parent / "ancestry") or b"[]")
        if not above:
            return "the parent is not there"
    if json.loads(ancestry) != [folder.name, *above]:
        return "the ancestry is another image's"
    return ""


def _tags(root: Path, view: StoreView) -> Iterator[tuple[tuple[str, str], str]]:
    for folder in (root / "repositories").glob("*/*"):
        name = f"{folder.parent.name}/{folder.name}"
        for path in _children(folder):
            if path.name.startswith("tag_"):
                yield (name, path.name[4:]), (_read(path) or b"").decode()
            elif not (path.name in _REPOSITORY_FILES or path.name.startswith("tag")):
                view.problems.append(f"{name}: a stranger {path.name}")
        data = _read(folder / "_index_images")
        if data is not None:
            view.lists[name] = {item["id"] for item in json.loads(data)}
        entries = _children(folder / "_index_entries")
        view.entries[name] = {path.name for path in entries}


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def leftovers(root: Path) -> list[str]:
    """Return the files of broken or finished pushes, relative to the store."""
    ours = root / "_v1registry"
    folders = (ours / "uploads", ours / "pushes")
    return sorted(
        str(path.relative_to(root))
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    )
