"""A limit on the hostile texts of one page: clients may send texts of megabytes."""

from __future__ import annotations

from markupsafe import escape


class TextBudget:
    """Cuts texts so that all of them take at most `total` bytes of a page, and each `longest`."""

    def __init__(self, total: int, longest: int) -> None:
        self._left = total
        self._longest = longest

    def cut(self, text: str) -> str:
        """Return the text, or its beginning and an ellipsis."""
        most = max(0, min(self._longest, self._left))
        shown = text[:most]
        while shown and _size(shown) > most:
            shown = shown[: len(shown) * most // _size(shown)]
        self._left -= _size(shown)
        return shown if shown == text else f"{shown}…"

    def cut_all(self, texts: list[str]) -> tuple[list[str], int]:
        """Return the texts that fit, each cut, and the number of those left out."""
        shown = []
        for text in texts:
            if self._left <= 0:
                break
            shown.append(self.cut(text))
        return shown, len(texts) - len(shown)


def _size(text: str) -> int:
    return len(escape(text).encode())
