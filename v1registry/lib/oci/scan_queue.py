"""The scan queue: images that were pushed and wait for a layer scan."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

from v1registry.lib.names import ImageId

_LIMIT = 1000  # images beyond this are scanned when a client first requests them


class ScanQueue:
    """A queue in the memory of this process. Images lost with it are scanned on first use.

    `rest` is the number of seconds to wait after the last push, so that scans do not slow pushes down.
    """

    def __init__(
        self,
        rest: float,
        limit: int = _LIMIT,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._queue: queue.Queue[ImageId] = queue.Queue(limit)
        self._rest = rest
        self._last = 0.0
        self._clock = clock
        self._sleep = sleep

    def add(self, image_id: ImageId) -> None:
        """Append an image; drop it if the queue is full."""
        self._last = self._clock()
        try:
            self._queue.put_nowait(image_id)
        except queue.Full:
            pass

    def next(self) -> ImageId:
        """Return the first image; wait for one, and until `rest` seconds have passed since a push."""
        image_id = self._queue.get()
        while (left := self._last + self._rest - self._clock()) > 0:
            self._sleep(left)
        return image_id
