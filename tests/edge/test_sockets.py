"""A connection that never has to wait must not keep the worker for itself."""

import socket

import gevent
import pytest

from v1registry.edge.sockets import BURST, EdgeSocket

STEP = 64 * 1024


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    mine = EdgeSocket(ours.family, ours.type, ours.proto, fileno=ours.detach())
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
            mine.await_bytes()
        taken += count or 0
    if mine.is_greedy():
        mine.rest()


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
