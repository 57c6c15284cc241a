"""The memory of request bodies: who has which room, and nothing lost on the way between them."""

from v1registry.server.buffer_pool import (
    OWN_ROOMS,
    PIECE,
    SHARED_OUT,
    SMALL_PIECE,
    SMALLEST_PIECE,
    BufferPool,
    ReceiveBuffer,
)


def test_large_rooms_are_few():
    rooms = BufferPool()
    taken = [rooms.take() for _ in range(OWN_ROOMS + 3)]
    assert taken == [PIECE] * OWN_ROOMS + [SMALL_PIECE] * 3
    for size in taken:
        rooms.give(size)
    assert [rooms.take() for _ in taken] == taken


def test_a_thousand_bodies_have_little_room():
    rooms = BufferPool(0)
    taken = [rooms.take() for _ in range(1000)]
    assert taken == sorted(taken, reverse=True)
    assert (taken[0], taken[-1]) == (SMALL_PIECE, SMALLEST_PIECE)
    assert sum(taken) < 6 * SHARED_OUT + 1000 * SMALLEST_PIECE
    for size in taken:
        rooms.give(size)
    assert rooms.take() == SMALL_PIECE


def test_memory_goes_while_a_piece_is_held():
    room = ReceiveBuffer(PIECE)
    room.end = room.add(memoryview(b"x" * PIECE))
    piece = room.data
    room.release()
    assert not any(piece)


def test_the_shared_room_is_lent_to_one():
    rooms = BufferPool(0)
    room = rooms.borrow()
    assert room is not None
    assert rooms.borrow() is None
    room.add(memoryview(b"left behind"))
    rooms.give_back()
    assert rooms.borrow() is room
    assert room.held == 0


def test_another_room_takes_data_and_what_is_framed():
    room, other = ReceiveBuffer(100), ReceiveBuffer(20)
    room.add(memoryview(b"5\r\nhello\r\n7\r"))
    room.start, room.end, room.at = 3, 8, 10
    assert (bytes(room.data), bytes(room.framed), room.held) == (b"hello", b"7\r", 7)
    other.take_over(room)
    assert (bytes(other.data), bytes(other.framed), other.held) == (b"hello", b"7\r", 7)
    assert room.held == 0
    other.handed_on()
    assert (bytes(other.data), bytes(other.framed)) == (b"", b"7\r")
    assert other.add(memoryview(b"x" * 30)) == 18
    assert other.filled == other.size
