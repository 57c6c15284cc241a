"""Pages of a layer's file listing: one folder of its tree, names that match a search, changes.

The input are the stored listings: rows of `files.list_files`, and the result of `diff.Comparison`.
0.x may have written them, so each value is checked. They are read one row at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from v1registry.lib.running import sorted_in_steps

#: The groups of a comparison.
CHANGES = ("created", "changed", "deleted")

_FOLDER = "d"
_MISSING = [None] * 5


@dataclass(slots=True)
class FileEntry:
    """A name in a folder, or a path in a list.

    `size` in bytes and `files` include everything below a folder. `change` is one of `CHANGES`, or
    "" if it is unknown.
    """

    name: str
    kind: str = _FOLDER
    size: int = 0
    files: int = 0
    modified: int | None = None
    is_deleted: bool = False
    change: str = ""

    @property
    def is_folder(self) -> bool:
        return self.kind == _FOLDER


@dataclass(slots=True)
class FilePage:
    """Entries of one page. `total` counts those of all pages, `files` and `size` all below the folder."""

    entries: list[FileEntry]
    total: int
    files: int = 0
    size: int = 0
    counts: dict[str, int] = field(default_factory=dict)


def path_of(text: str) -> tuple[str, ...]:
    """Return the components of a path."""
    return tuple(part for part in text.split("/") if part not in ("", "."))


def folder(rows: Iterable[Any], path: tuple[str, ...], start: int, most: int) -> FilePage:
    """Return the names in one folder, folders first."""
    found: dict[str, FileEntry] = {}
    page = FilePage([], 0)
    for row in rows:
        entry = _entry(row)
        parts = path_of(entry.name)
        if len(parts) <= len(path) or parts[: len(path)] != path:
            continue
        is_file = not (entry.is_folder or entry.is_deleted)
        page.files += is_file
        page.size += entry.size if is_file else 0
        name = parts[len(path)]
        known = found.get(name)
        if len(parts) == len(path) + 1:
            # the last row of a name counts, as in 0.x
            entry.name = name
            if entry.is_folder:
                before = known if known is not None and known.is_folder else FileEntry(name)
                entry.size, entry.files = before.size, before.files
            found[name] = entry
            continue
        if known is None or not known.is_folder:
            known = found[name] = FileEntry(name)
        known.files += is_file
        known.size += entry.size if is_file else 0
    entries = list(found.values())
    ordered = sorted_in_steps(entries, key=lambda entry: (not entry.is_folder, entry.name))
    page.entries, page.total = ordered[start : start + most], len(ordered)
    return page


def search(rows: Iterable[Any], text: str, start: int, most: int) -> FilePage:
    """Return the paths that contain `text`, ignoring case, in the order of the layer."""
    wanted = text.lower()
    page = FilePage([], 0)
    for entry in map(_entry, rows):
        if entry.name and wanted in entry.name.lower():
            if start <= page.total < start + most:
                page.entries.append(entry)
            page.total += 1
    return page


def changes(
    members: Iterable[tuple[str, str, Any]], kind: str, text: str, start: int, most: int
) -> FilePage:
    """Return the changes of a kind, "" for all, whose paths contain `text`; and how many of each.

    The order is that of `members`.
    """
    page = FilePage([], 0, counts=dict.fromkeys(CHANGES, 0))
    wanted = text.lower()
    for change, name, values in members:
        if change not in page.counts:
            continue
        page.counts[change] += 1
        if kind not in ("", change) or wanted not in name.lower():
            continue
        if start <= page.total < start + most:
            entry = _entry([name, *values] if isinstance(values, list) else [name])
            entry.change = change
            page.entries.append(entry)
        page.total += 1
    return page


def _entry(row: Any) -> FileEntry:
    """Return the entry of a row; values of the wrong type count as missing."""
    values = [*row, *_MISSING] if isinstance(row, list) else _MISSING
    name, kind, is_deleted, size, modified = values[:5]
    return FileEntry(
        _text(name),
        kind if isinstance(kind, str) and len(kind) == 1 else "u",
        size if isinstance(size, int) and 0 <= size < 2**63 else 0,
        modified=modified if isinstance(modified, int) and 0 < modified < 2**33 else None,
        is_deleted=is_deleted is True,
    )


def _text(value: Any) -> str:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
