"""The buffers of request bodies: their sizes, and moving bytes between them."""

from v1registry.server.buffer_pool import (
    LARGE_BUFFERS,
    PIECE,
    SMALL_PIECE,
    SMALL_TOTAL,
    SMALLEST_PIECE,
    BufferPool,
    ReceiveBuffer,
)


def test_few_buffers_are_large():
    pool = BufferPool()
    taken = [pool.reserve() for _ in range(LARGE_BUFFERS + 3)]
    assert taken == [PIECE] * LARGE_BUFFERS + [SMALL_PIECE] * 3
    for size in taken:
        pool.release(size)
    assert [pool.reserve() for _ in taken] == taken


def test_a_thousand_bodies_take_little_memory():
    pool = BufferPool(0)
    taken = [pool.reserve() for _ in range(1000)]
    assert taken == sorted(taken, reverse=True)
    assert (taken[0], taken[-1]) == (SMALL_PIECE, SMALLEST_PIECE)
    assert sum(taken) < 6 * SMALL_TOTAL + 1000 * SMALLEST_PIECE
    for size in taken:
        pool.release(size)
    assert pool.reserve() == SMALL_PIECE


def test_memory_is_released_while_a_piece_is_held():
    buffer = ReceiveBuffer(PIECE)
    buffer.end = buffer.add(memoryview(b"x" * PIECE))
    piece = buffer.data
    buffer.release()
    assert not any(piece)


def test_the_shared_buffer_is_lent_to_one_body():
    pool = BufferPool(0)
    buffer = pool.borrow_shared()
    assert buffer is not None
    assert pool.borrow_shared() is None
    buffer.add(memoryview(b"left behind"))
    pool.return_shared()
    assert pool.borrow_shared() is buffer
    assert buffer.used == 0


def test_data_and_framed_bytes_move_to_another_buffer():
    buffer, other = ReceiveBuffer(100), ReceiveBuffer(20)
    buffer.add(memoryview(b"5\r\nhello\r\n7\r"))
    buffer.start, buffer.end, buffer.at = 3, 8, 10
    assert (bytes(buffer.data), bytes(buffer.framed), buffer.used) == (b"hello", b"7\r", 7)
    other.take_from(buffer)
    assert (bytes(other.data), bytes(other.framed), other.used) == (b"hello", b"7\r", 7)
    assert buffer.used == 0
    other.drop_data()
    assert (bytes(other.data), bytes(other.framed)) == (b"", b"7\r")
    assert other.add(memoryview(b"x" * 30)) == 18
    assert other.filled == other.size
