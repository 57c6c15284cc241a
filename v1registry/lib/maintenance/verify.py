"""One run of `verify`: checks the whole store, several objects at once, and repairs on demand.

The run saves its cursor and its findings in the store from time to time (`VerifyJournal`). So a run
that was stopped continues there, and findings never fill the memory.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, field
from typing import Any

from v1registry.lib import documents
from v1registry.lib.maintenance.findings import Finding
from v1registry.lib.repositories.backfill import BackfillProgress
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound

_AHEAD = 4  # items submitted for each thread at a time
_SAVE = 5.0  # seconds between two saves of the cursor
_TICK = 20.0  # seconds between two calls of the progress while a large layer is read
_FRESH = 86400.0  # seconds for which a stopped run may be continued


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of objects: `items` are sorted, and `check` returns the findings about one of them."""

    name: str
    items: list[str]
    check: Callable[[str], list[Finding]]


@dataclass(frozen=True, slots=True)
class Row:
    """A finding, and the phase and item that found it."""

    phase: str
    item: str
    finding: Finding


@dataclass(slots=True)
class Cursor:
    """How far a run is. `options`: a run with other options does not continue it."""

    options: dict[str, Any]
    started: float
    saved: float = 0.0
    phase: str = ""
    after: str = ""
    pages: int = 0  # saved pages of findings
    checked: dict[str, int] = field(default_factory=dict)


class VerifyJournal:
    """The cursor and the findings of a run, in the store; in memory if there is no `storage`."""

    def __init__(self, storage: Storage | None) -> None:
        self._storage = storage
        self._pages: list[bytes] = []

    def load(self, options: dict[str, Any]) -> Cursor:
        """Return the cursor of a stopped run with these options, or of a new run."""
        now = time.time()
        try:
            found = Cursor(**json.loads(self._storage.get(_CURSOR))) if self._storage else None
        except (NotFound, ValueError, TypeError):
            found = None
        if found and found.options == options and now - _FRESH < found.saved <= now:
            return found
        return Cursor(options, now)

    def save(self, cursor: Cursor, rows: list[Row]) -> None:
        """Save new findings, and then how far the run is."""
        if rows:
            page = documents.dump([[row.phase, row.item, asdict(row.finding)] for row in rows])
            if self._storage:
                self._storage.put(_page(cursor.pages), page)
            else:
                self._pages.append(page)
            cursor.pages += 1
        cursor.saved = time.time()
        if self._storage:
            self._storage.put(_CURSOR, documents.dump(asdict(cursor)))

    def rows(self, cursor: Cursor) -> Iterator[Row]:
        """Yield all findings of the run."""
        for number in range(cursor.pages):
            page = self._storage.get(_page(number)) if self._storage else self._pages[number]
            for phase, item, finding in json.loads(page):
                yield Row(phase, item, Finding(**finding))

    def delete(self) -> None:
        """Forget the run."""
        if self._storage:
            self._storage.delete(_CURSOR)
            self._storage.delete_folder(keys.VERIFY)


_CURSOR = f"{keys.VERIFY}/cursor"


def _page(number: int) -> str:
    return f"{keys.VERIFY}/findings-{number:06}"


class Verification:
    """Checks the phases one after the other in `pool`, which runs `jobs` checks at once.

    `progress` is called at least every 20 seconds and may raise. `look_again` is called before an
    item is checked a second time.
    """

    def __init__(
        self,
        phases: Iterable[Phase],
        journal: VerifyJournal,
        cursor: Cursor,
        pool: Executor,
        jobs: int,
        progress: BackfillProgress,
        look_again: Callable[[], object],
        *,
        save_every: float = _SAVE,
    ) -> None:
        self.phases = {phase.name: phase for phase in phases}
        self._journal = journal
        self.cursor = cursor
        self._pool = pool
        self._most = jobs * _AHEAD
        self._progress = progress
        self._look_again = look_again
        self._save_every = save_every

    def run(self) -> None:
        """Check everything from the cursor on. Raise StorageError."""
        names = list(self.phases)
        done = names.index(self.cursor.phase) if self.cursor.phase in names else 0
        for phase in list(self.phases.values())[done:]:
            if self.cursor.phase != phase.name:
                self.cursor.phase, self.cursor.after = phase.name, ""
            self._run(phase)

    def rows(self) -> Iterator[Row]:
        """Yield all findings, also those of the run that this one continues."""
        return self._journal.rows(self.cursor)

    def repair(self, repair: Callable[[Finding], None]) -> Iterator[Row]:
        """Repair all repairable findings that are still there, and yield the findings that remain."""
        for count, (check, row) in enumerate(self._places(fixable=True), 1):
            for finding in check(row.item):
                if finding.fixable:
                    repair(finding)
            self._progress("objects repaired", count, None)
        # A repair may also end findings about other objects.
        for count, (check, row) in enumerate(self._places(fixable=False), 1):
            self._progress("objects checked again", count, None)
            for finding in check(row.item):
                yield Row(row.phase, row.item, finding)

    def _places(self, *, fixable: bool) -> Iterator[tuple[Callable[[str], list[Finding]], Row]]:
        """Yield each item with findings once, with its check; or only those with a `fixable` one."""
        seen: set[tuple[str, str]] = set()
        for row in self.rows():
            if (row.phase, row.item) not in seen and (row.finding.fixable or not fixable):
                seen.add((row.phase, row.item))
                self._look_again()
                yield self.phases[row.phase].check, row

    def _run(self, phase: Phase) -> None:
        cursor, rows = self.cursor, list[Row]()
        rest = [item for item in phase.items if item > cursor.after]
        done, total = len(phase.items) - len(rest), len(phase.items)
        saved = time.monotonic()
        for item, found in self._results(phase, rest):
            rows += [Row(phase.name, item, finding) for finding in found]
            done += 1
            cursor.after = item
            cursor.checked[phase.name] = cursor.checked.get(phase.name, 0) + 1
            self._progress(phase.name, done, total)
            if time.monotonic() - saved >= self._save_every:
                self._journal.save(cursor, rows)
                rows, saved = [], time.monotonic()
        self._journal.save(cursor, rows)

    def _results(self, phase: Phase, items: list[str]) -> Iterator[tuple[str, list[Finding]]]:
        """Yield the items in order with their findings."""
        running: deque[tuple[str, Future[list[Finding]]]] = deque()
        try:
            for item in items:
                running.append((item, self._pool.submit(self._check, phase, item)))
                if len(running) >= self._most:
                    yield self._next(phase, running)
            while running:
                yield self._next(phase, running)
        finally:
            for _, future in running:
                future.cancel()

    def _next(
        self, phase: Phase, running: deque[tuple[str, Future[list[Finding]]]]
    ) -> tuple[str, list[Finding]]:
        item, future = running.popleft()
        while True:
            try:
                return item, future.result(_TICK)
            except TimeoutError:
                if future.done():
                    raise
                done = self.cursor.checked.get(phase.name, 0)
                self._progress(phase.name, done, len(phase.items))

    def _check(self, phase: Phase, item: str) -> list[Finding]:
        """Return the findings about an item.

        A push, `gc` or an administrator may be changing it. So only what a second look sees as well is
        a finding.
        """
        found = phase.check(item)
        if not found:
            return []
        self._look_again()
        again = phase.check(item)
        return [finding for finding in found if finding in again]
