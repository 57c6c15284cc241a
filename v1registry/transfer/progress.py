"""How far a transfer is: what is told while it runs."""

from __future__ import annotations

from typing import Protocol


class TransferProgress(Protocol):
    """Told by many threads at once."""

    def expect(self, count: int) -> None:
        """So many bytes more are to be moved than was known; negative: fewer."""

    def bytes(self, count: int) -> None:
        """So many bytes went; negative: they go again."""

    def layer(self) -> None:
        """A layer is done."""

    def image(self, text: str) -> None:
        """A tag is done; `text` says what became of it."""

    def note(self, text: str) -> None:
        """Something is waited for, or tried again; `text` says what and why."""

    def close(self) -> None: ...


class NoProgress:
    """Says nothing."""

    def expect(self, count: int) -> None: ...

    def bytes(self, count: int) -> None: ...

    def layer(self) -> None: ...

    def image(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...
