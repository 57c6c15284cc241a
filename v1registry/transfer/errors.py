"""What goes wrong between here and there."""

from __future__ import annotations


class TransferError(Exception):
    """Something could not be moved; the text says what and why, for people to read.

    It is one line: names from archives and words of registries must not write to the terminal.
    """

    def __init__(self, text: str) -> None:
        escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        super().__init__("".join(escaped))


class Rejected(TransferError):
    """The other side answered with an error that trying again does not mend."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Unreachable(TransferError):
    """The other side did not answer, or answered that it cannot now, as often as we asked."""


class Gone(Unreachable):
    """The other side answers to nothing any more: whatever else is asked of it fails at once."""


class Aborted(TransferError):
    """What was being written is of no use any more: nothing more can be added to it."""
