"""Images that were pushed just now, for whoever looks at them next."""

from __future__ import annotations

import queue

from v1registry.lib.names import ImageId

_MOST = 1000  # more pushes at once than these are looked at when somebody asks for them


class Pushed:
    """A line of images, in this process alone: what is lost with it is found on first use."""

    def __init__(self, limit: int = _MOST) -> None:
        self._queue: queue.Queue[ImageId] = queue.Queue(limit)

    def add(self, image_id: ImageId) -> None:
        """Put an image at the end; forget it if the line is too long."""
        try:
            self._queue.put_nowait(image_id)
        except queue.Full:
            pass

    def next(self) -> ImageId:
        """The first image; waits for one."""
        return self._queue.get()
