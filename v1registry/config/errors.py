"""What can be wrong with a configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a dotted key (flavor first; empty: the file as a whole) and why.

    `line` is the line of the file where the value stands, from 1.
    """

    key: str
    reason: str
    line: int | None = None


class ConfigError(ValueError):
    """The configuration cannot be used. `problems` holds everything found, `str()` a line each."""

    def __init__(self, file: object, problems: Iterable[Problem]) -> None:
        self.file = str(file)
        self.problems = tuple(problems)
        super().__init__("\n".join(self._line(problem) for problem in self.problems))

    def _line(self, problem: Problem) -> str:
        place = self.file if problem.line is None else f"{self.file}:{problem.line}"
        return ": ".join(part for part in (place, problem.key, problem.reason) if part)


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the most similar known one, or nothing."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.75)
    return f"; do you mean {close[0]}?" if close else ""
