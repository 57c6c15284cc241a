"""Splitting layers into parts: each byte is in its part, and memory stays within the limit."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.machine import tmpfs
from tests.needs import needs
from v1registry.storage.errors import Unavailable
from v1registry.storage.parts import AT_ONCE, Part, PartBuffer, send_parts

KIB = 1024


def cut(data: bytes, size: int) -> Iterator[memoryview]:
    """Yield views of one buffer that is reused, as the receiver does."""
    buffer = bytearray(size)
    for at in range(0, len(data), size):
        part = data[at : at + size]
        buffer[: len(part)] = part
        yield memoryview(buffer)[: len(part)]


class Store:
    """Keeps the parts that it gets; `waits` for an event before it takes one."""

    def __init__(self, waits: threading.Event | None = None) -> None:
        self.parts: dict[int, bytes] = {}
        self.busy = self.most = 0
        self._waits = waits
        self._lock = threading.Lock()

    def send(self, number: int, data: bytearray) -> None:
        with self._lock:
            assert number not in self.parts
            self.busy += 1
            self.most = max(self.most, self.busy)
        if self._waits:
            assert self._waits.wait(20)
        with self._lock:
            self.parts[number] = bytes(data)
            self.busy -= 1

    @property
    def data(self) -> bytes:
        return b"".join(self.parts[number] for number in sorted(self.parts))


def free(buffer: PartBuffer) -> int:
    return buffer._free


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(0, 3000),
    piece=st.integers(60, 3000),
    part=st.integers(100, 1200),
    memory=st.integers(1, 6000),
)
def test_every_byte_is_sent_once(size: int, piece: int, part: int, memory: int):
    data = secrets.token_bytes(size)
    buffer, store = PartBuffer(memory, part), Store()
    assert send_parts(cut(data, piece), buffer, store.send) == len(store.parts)
    assert store.data == data
    lengths = [len(store.parts[number]) for number in sorted(store.parts)]
    assert sorted(store.parts) == list(range(1, len(lengths) + 1))
    assert all(length == part for length in lengths[:-1])
    assert 0 < lengths[-1] <= part or size == 0
    assert free(buffer) == memory // 2


def test_a_limited_number_of_parts_is_sent_at_once():
    go, buffer = threading.Event(), PartBuffer(1000 * KIB, 10 * KIB)
    store = Store(go)
    data = secrets.token_bytes(100 * KIB)
    threading.Timer(0.3, go.set).start()
    assert send_parts(cut(data, 4 * KIB), buffer, store.send) == 10
    assert (store.data, store.most) == (data, AT_ONCE)


def test_many_uploads_stay_within_the_memory(monkeypatch: pytest.MonkeyPatch):
    """Uploads beyond the memory limit use one temporary file each, and all succeed."""
    files = []
    make = tempfile.TemporaryFile
    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda **how: files.append(make(**how)) or files[-1]
    )
    buffer, part = PartBuffer(80 * KIB, 10 * KIB), 10 * KIB
    held, least = threading.Semaphore(0), [free(buffer)]

    def slowly(data: bytes) -> Iterator[memoryview]:
        for number, piece in enumerate(cut(data, 5 * KIB)):
            if number == 1:
                held.release()  # half a part is there, and the client takes its time
                time.sleep(0.3)
            yield piece
            least.append(free(buffer))

    stores = [Store() for _ in range(20)]
    datas = [secrets.token_bytes(3 * part) for _ in stores]
    threads = [
        threading.Thread(target=send_parts, args=(slowly(data), buffer, store.send))
        for data, store in zip(datas, stores, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [store.data for store in stores] == datas
    assert min(least) == 0  # it was used, and never more than there is
    assert len(files) >= 12
    assert all(file.closed for file in files)
    assert free(buffer) == 40 * KIB


def test_a_stalled_client_uses_no_memory_of_others():
    buffer = PartBuffer(40 * KIB, 10 * KIB)
    over, begun = threading.Event(), threading.Barrier(9)

    def stuck() -> Iterator[bytes]:
        yield bytes(9 * KIB)
        begun.wait(20)
        over.wait(20)

    slow = [
        threading.Thread(target=send_parts, args=(stuck(), buffer, Store().send)) for _ in range(8)
    ]
    for thread in slow:
        thread.start()
    begun.wait(20)
    store, data = Store(), secrets.token_bytes(55 * KIB)
    send_parts(cut(data, KIB), buffer, store.send)
    assert store.data == data
    over.set()
    for thread in slow:
        thread.join(20)
    assert free(buffer) == 20 * KIB


@pytest.mark.parametrize("memory", [1, 1000 * KIB])
def test_a_failure_ends_the_upload_at_once(memory: int):
    buffer, sent, read = PartBuffer(memory, 10 * KIB), [], []

    def send(number: int, data: bytearray) -> None:
        sent.append(number)
        if number == 3:
            raise Unavailable("gone")

    def endless() -> Iterator[bytes]:
        while True:
            read.append(1)
            assert len(read) < 1000
            yield bytes(5 * KIB)

    with pytest.raises(Unavailable, match="gone"):
        send_parts(endless(), buffer, send)
    assert len(sent) <= 3 + AT_ONCE
    assert free(buffer) == memory // 2


@pytest.mark.parametrize("memory", [1, 1000 * KIB])
def test_a_client_failure_is_raised_after_running_sends(memory: int):
    buffer, go = PartBuffer(memory, 10 * KIB), threading.Event()
    store = Store(go)

    def leaving() -> Iterator[bytes]:
        threading.Timer(0.1, go.set).start()
        for _ in range(5):
            yield bytes(5 * KIB)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        send_parts(leaving(), buffer, store.send)
    assert (store.busy, sorted(store.parts)) == (0, [1, 2])
    assert free(buffer) == memory // 2


@needs("tmpfs")
def test_no_space_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with tmpfs(tmp_path / "small", "size=64k") as folder:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        buffer, store = PartBuffer(1, 100 * KIB), Store()
        with pytest.raises(Unavailable, match=r"cannot write a temporary file .*No space left"):
            send_parts([bytes(200 * KIB)], buffer, store.send)
        send_parts([bytes(30 * KIB)], buffer, store.send)  # nothing was left behind
        assert len(store.data) == 30 * KIB


def test_a_truncated_temporary_file_is_noticed():
    part = Part(PartBuffer(1, 100))
    part.write(memoryview(bytes(50)))
    part._file.truncate(20)
    with pytest.raises(Unavailable, match="30 bytes short"), part.data():
        pass
    part.close()
