"""Chunked framing (RFC 9112 section 7.1), removed in place.

Only the simplest size line (`HEX CRLF`) is read here. Any other size line, the last chunk and the
trailers are read by gunicorn's own parser, so that both accept exactly the same bodies.
"""

from __future__ import annotations

import re
from typing import Any

from gunicorn.http.errors import ChunkMissingTerminator  # type: ignore[import-untyped]

from v1registry.server.buffer_pool import ReceiveBuffer

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_NEXT_SIZE_LINE = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})\r\n")
_LINE_END = re.compile(rb"\r\n")
_LONGEST_SIZE_LINE = 17
_LAST_CHUNK = re.compile(rb"0+(?![0-9A-Fa-f])")


class Chunks:
    """The framing of one body that is still unread. `reader` is gunicorn's ChunkedReader for it."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._unreader = reader.req.unreader
        self._rest = b""  # received by gunicorn's parser, and not read by it
        self._left = 0  # bytes of the current chunk that are still to come
        self._after_data = False  # the next two bytes must be the CRLF that ends a chunk

    def ahead(self) -> memoryview:
        """Take the bytes of the body that gunicorn has received and not read."""
        rest, self._rest = self._rest, b""
        return memoryview(rest + self._unreader.take_buffered())

    def unwrap(self, buffer: ReceiveBuffer) -> bool:
        """Turn framed bytes of `buffer` into data, as many as possible.

        Return False if gunicorn's parser must read on (see `hand_over`): the line is long, or it is
        the last chunk.

        :raises ParseException: the framing is malformed.
        """
        while buffer.at < buffer.filled:
            if self._left:
                self._left -= buffer.unframe(self._left)
                self._after_data = True
            elif self._take_simple_line(buffer):
                pass
            elif self._after_data:
                if not self._take_chunk_end(buffer):
                    return True  # more bytes are needed
            else:
                line_end = _LINE_END.search(buffer.view, buffer.at, buffer.filled)
                if line_end is None:
                    return buffer.filled - buffer.at < _LONGEST_SIZE_LINE
                if _LAST_CHUNK.match(buffer.view, buffer.at, line_end.start()):
                    return False
                self._take_other_line(buffer, line_end.end())
        return True

    def _take_simple_line(self, buffer: ReceiveBuffer) -> bool:
        """Read a simple size line, after the end of a chunk if one is due; False if there is none."""
        pattern = _NEXT_SIZE_LINE if self._after_data else _SIZE_LINE
        line = pattern.match(buffer.view, buffer.at, buffer.filled)
        size = int(line[1], 16) if line else 0
        if line is None or not size:
            return False
        self._left, self._after_data = size, False
        buffer.at = line.end()
        return True

    def _take_chunk_end(self, buffer: ReceiveBuffer) -> bool:
        """Read the CRLF that ends a chunk; return False if it has not been received."""
        if buffer.filled - buffer.at < 2:
            return False
        found = bytes(buffer.view[buffer.at : buffer.at + 2])
        if found != b"\r\n":
            raise ChunkMissingTerminator(found)
        buffer.at += 2
        self._after_data = False
        return True

    def _take_other_line(self, buffer: ReceiveBuffer, end: int) -> None:
        """Let gunicorn's parser read a size line with an extension, or refuse a malformed one."""
        line = bytes(buffer.view[buffer.at : end])
        self._left, _ = self._reader.parse_chunk_size(self._unreader, data=line)
        buffer.at = end

    def hand_over(self, framed: bytes, ahead: memoryview) -> bool:
        """Let gunicorn's parser read on where `unwrap` stopped; return False at the end of the body.

        At the end, gunicorn keeps the bytes that belong to the next request.

        :raises ParseException: the framing is malformed; and any error of receiving.
        """
        self._unreader.unread(bytes(ahead))
        self._left, rest = self._reader.parse_chunk_size(self._unreader, data=framed)
        if not self._left:
            self._reader.parser = None
            return False
        self._rest = rest
        return True
