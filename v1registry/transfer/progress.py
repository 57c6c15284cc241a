"""The interface through which a transfer reports its progress."""

from __future__ import annotations


class TransferProgress:
    """Receives the progress of a transfer, and shows nothing. Many threads call it at once."""

    def expect(self, count: int) -> None:
        """Add `count` to the number of bytes to transfer; negative: fewer."""

    def bytes(self, count: int) -> None:
        """Note that `count` bytes were transferred; negative: they must be sent again."""

    def layer(self) -> None:
        """Note that a layer is finished."""

    def image(self, text: str) -> None:
        """Note that a tag is finished; `text` says with which result."""

    def note(self, text: str) -> None:
        """Show that a request is delayed or retried; `text` says which one and why."""

    def close(self) -> None:
        """Finish the display."""
