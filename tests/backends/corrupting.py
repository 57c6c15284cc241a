"""Random damage of responses and requests in the proxy: some bytes change on the way."""

from __future__ import annotations

import random
import re
import threading
from typing import Literal

Where = Literal["head", "status", "body", "any"]
_BEGIN, _END = re.compile(rb"HTTP/1\.|[A-Z]+ [/h]"), b"\r\n\r\n"


class Corrupting:
    """Changes one byte in a piece of an answer, in `rate` (0 to 1) of them; `changed` counts.

    `where`: of its head, of the digits of its status, of its body, or anywhere in the piece with its
    head, so that of one answer either the bytes change or what is told of them. The same `seed` does the same to the same pieces.
    """

    def __init__(self, seed: int, rate: float, where: Where = "any") -> None:
        self.rate = rate
        self.where = where
        self.changed = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, data: bytes) -> bytes:
        with self._lock:
            start, stop = self._span(data)
            if start >= stop or self._random.random() >= self.rate:
                return data
            self.changed += 1
            at = self._random.randrange(start, stop)
            return data[:at] + bytes([self._other(data[at])]) + data[at + 1 :]

    def _span(self, data: bytes) -> tuple[int, int]:
        end = data.find(_END) if _BEGIN.match(data) else -1
        body = end + len(_END) if end >= 0 else 0
        if self.where == "status":
            return (9, 12) if body else (0, 0)
        if self.where == "any":
            return 0, len(data) if body else 0
        if self.where == "head":
            return 0, body
        return body, len(data)

    def _other(self, byte: int) -> int:
        """Replace a digit by another digit, so that numbers stay numbers; else change the byte by one."""
        if chr(byte) in "0123456789":
            return self._random.choice([one for one in b"0123456789" if one != byte])
        return byte ^ 1 << self._random.randrange(8)
