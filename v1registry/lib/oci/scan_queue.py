"""Images that were pushed just now, for whoever looks at them next."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

from v1registry.lib.names import ImageId

_MOST = 1000  # more pushes at once than these are looked at when somebody asks for them


class ScanQueue:
    """A line of images, in this process alone: what is lost with it is found on first use.

    `rest` is how many seconds must have passed since the last push: nobody gets in its way.
    """

    def __init__(
        self,
        rest: float,
        limit: int = _MOST,
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
        """Put an image at the end; forget it if the line is too long."""
        self._last = self._clock()
        try:
            self._queue.put_nowait(image_id)
        except queue.Full:
            pass

    def next(self) -> ImageId:
        """The first image; waits for one, and until pushes rest."""
        image_id = self._queue.get()
        while (left := self._last + self._rest - self._clock()) > 0:
            self._sleep(left)
        return image_id
