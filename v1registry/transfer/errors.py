"""Errors of transfers, and the parsing of untrusted JSON."""

from __future__ import annotations

import json
from typing import Any


class TransferError(Exception):
    """A transfer failed; the text says what and why.

    Control characters are escaped, because texts hold names and messages from outside, which must
    not control the terminal.
    """

    def __init__(self, text: str) -> None:
        escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        super().__init__("".join(escaped))


class Rejected(TransferError):
    """The other side answered with an error that a retry does not solve."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Unreachable(TransferError):
    """The other side did not answer, or was unavailable, for all retries."""


class Gone(Unreachable):
    """The other side does not answer any request. Further requests fail at once."""


class Aborted(TransferError):
    """The output is damaged, so nothing more can be added to it."""


def parse_json(data: bytes, what: str) -> Any:
    """Parse a JSON document; `what` names it. Raise TransferError."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise TransferError(f"{what} is not JSON") from None
