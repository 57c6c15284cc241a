"""A connection that never has to wait must not block the worker."""

import os
import socket

import gevent
import pytest

from v1registry.server.sockets import BURST, SEND_STEP, ClientSocket

STEP = 64 * 1024


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    mine = ClientSocket(ours.family, ours.type, ours.proto, fileno=ours.detach())
    with mine, theirs:
        theirs.settimeout(10)
        yield mine, theirs


def receive(mine, theirs, file):
    theirs.sendall(b"x" * STEP)
    room = memoryview(bytearray(STEP))
    taken = 0
    while taken < STEP:
        count = mine.receive_now(room)
        if count is None:
            mine.wait_for_bytes()
        taken += count or 0
    if mine.must_yield():
        mine.yield_loop()


def swallow(theirs):
    taken = 0
    while taken < STEP:
        taken += len(theirs.recv(STEP))


def send_file(mine, theirs, file):
    assert mine.sendfile(file, 10, STEP) == STEP
    swallow(theirs)


def send(mine, theirs, file):
    mine.sendall(b"x" * STEP)
    swallow(theirs)


@pytest.mark.parametrize("move", [receive, send_file, send])
def test_others_run_after_a_burst(pair, tmp_path, move):
    path = tmp_path / "file"
    path.write_bytes(b"x" * (STEP + 20))
    ran = []
    gevent.spawn(ran.append, True)
    with open(path, "rb") as file:
        move(*pair, file)
        assert not ran, "the step had to wait, which proves nothing"
        for _ in range(BURST // STEP):
            move(*pair, file)
        assert ran
        assert file.tell() == 0


def test_others_run_while_a_fast_client_receives_a_large_file(pair, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    turns = []

    def others():
        while True:
            turns.append(True)
            gevent.sleep(0)

    def all_of_it(_out, _in, _offset, count):  # a real socket that is never full is impossible
        return count

    monkeypatch.setattr(os, "sendfile", all_of_it)
    other = gevent.spawn(others)
    with open(path, "rb") as file:
        assert pair[0].sendfile(file, 0, 20 * SEND_STEP) == 20 * SEND_STEP
    other.kill()
    assert len(turns) >= 5


def test_others_run_while_a_fast_client_receives_a_large_answer(pair, monkeypatch):
    turns = []

    def others():
        while True:
            turns.append(True)
            gevent.sleep(0)

    # a real socket that is never full is impossible
    monkeypatch.setattr(ClientSocket, "send", lambda _self, data, _flags=0: len(data))
    other = gevent.spawn(others)
    pair[0].sendall(bytes(20 * BURST))
    other.kill()
    assert len(turns) >= 5
