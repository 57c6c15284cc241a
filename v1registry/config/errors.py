"""Errors of a configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import yaml

#: Errors of PyYAML for wrong texts, for example of its constructors for `!!int ''`.
YAML_ERRORS = (
    *(yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError),
    *(OverflowError, RecursionError),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One error: a dotted key (flavor first; empty for the whole file) and the reason.

    `line` is the line of the value in the file, from 1.
    """

    key: str
    reason: str
    line: int | None = None


class ConfigError(ValueError):
    """The configuration is not valid. `problems` has all errors, `str()` one line for each."""

    def __init__(self, file: object, problems: Iterable[Problem]) -> None:
        self.file = str(file)
        self.problems = tuple(problems)
        super().__init__("\n".join(self._line(problem) for problem in self.problems))

    def _line(self, problem: Problem) -> str:
        place = self.file if problem.line is None else f"{self.file}:{problem.line}"
        return ": ".join(part for part in (place, problem.key, problem.reason) if part)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown word: the most similar known word, or nothing."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.75)
    return f"; do you mean {close[0]}?" if close else ""
