"""Chunked framing, taken out in place.

Only the plainest is read here (`HEX CRLF`); a size line with anything else in it, the last chunk and
the trailers go to gunicorn's own parser, so both are equally strict.
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
    """The framing of one body, of which nobody has read anything. `reader` is gunicorn's for it."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._unreader = reader.req.unreader
        self._rest = b""
        self._left = 0  # of the chunk at hand
        self._after_data = False  # a CRLF must come first

    def ahead(self) -> memoryview:
        """What gunicorn has received of the body and not read."""
        rest, self._rest = self._rest, b""
        return memoryview(rest + self._unreader.take_buffered())

    def unwrap(self, room: ReceiveBuffer) -> bool:
        """Turn what is framed in the room into data, as far as it came.

        False: what follows is for gunicorn's parser, a long line or the end: see `hand_over`.

        :raises ParseException: the framing is malformed.
        """
        view, filled = room.view, room.filled
        start, end, at, left = room.start, room.end, room.at, self._left
        plain_left = True
        while at < filled:
            if left:
                count = min(left, filled - at)
                if end == start:
                    start = end = at
                elif end != at:
                    view[end : end + count] = view[at : at + count]
                end += count
                at += count
                left -= count
                self._after_data = True
                continue
            line = _NEXT_SIZE_LINE if self._after_data else _SIZE_LINE
            plain = line.match(view, at, filled)
            if plain and (left := int(plain[1], 16)):
                at = plain.end()
            elif self._after_data:
                if filled - at < 2:
                    break
                if (line_end_bytes := bytes(view[at : at + 2])) != b"\r\n":
                    raise ChunkMissingTerminator(line_end_bytes)
                at += 2
            else:
                line_end = _LINE_END.search(view, at, filled)
                if line_end is None and filled - at < _LONGEST_SIZE_LINE:
                    break
                if line_end is None or _LAST_CHUNK.match(view, at, line_end.start()):
                    plain_left = False
                    break
                # An extension, or something malformed: gunicorn's parser decides.
                line_bytes = bytes(view[at : line_end.end()])
                left, _ = self._reader.parse_chunk_size(self._unreader, data=line_bytes)
                at = line_end.end()
            self._after_data = False
        room.start, room.end, room.at, self._left = start, end, at, left
        return plain_left

    def hand_over(self, framed: bytes, ahead: memoryview) -> bool:
        """Let gunicorn's parser read on where `unwrap` stopped; False at the end of the body.

        At the end it gives back what belongs to the next request.

        :raises ParseException: the framing is malformed; and what receiving raises.
        """
        self._unreader.unread(bytes(ahead))
        self._left, rest = self._reader.parse_chunk_size(self._unreader, data=framed)
        if not self._left:
            self._reader.parser = None
            return False
        self._rest = rest
        return True
