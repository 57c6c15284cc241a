"""The changes of a layer against its ancestors, in the format of `images/ID/_diff`.

The input are rows of `files.list_files`, or rows that 0.x stored in `_files`, where whiteouts below the
root still have their raw names. Both forms are accepted.

The rules of 0.x: a whiteout is *deleted*; a file that an ancestor has is *changed*, unless a nearer
ancestor deleted it; any other file is *created*. Here, the ancestors are stacked as in engines: nothing
is visible in a folder that a nearer ancestor deleted, made opaque, or replaced. A deleted folder
includes all that is below it. For an opaque folder, only the topmost names that disappear are listed.

Names are compared by their components, so `./a`, `/a` and `a` of different engines are one file. The
time is linear in the bytes of all names: the layer's own names form a tree, and each name of an ancestor
is one descent in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from v1registry.lib.layers.files import OPAQUE, UNION, WHITEOUT, WHITEOUTS_OF_FOLDER, hidden_name
from v1registry.lib.layers.tar_header import LayerTooLarge

AnyRow = Sequence[Any]
Diff = dict[str, dict[str, list[Any]]]


@dataclass(slots=True, eq=False)
class _Node:
    """A node of the tree, with its state from the layers read so far."""

    children: dict[str, _Node] | None = None
    row: AnyRow | None = None  # the row of the layer itself
    whiteout: AnyRow | None = None  # the row with which the layer deletes it
    opaque: bool = False  # the layer hides everything that was below
    kept: bool = False  # the layer has an entry below
    existed: bool = False  # an ancestor has it
    vanished: AnyRow | None = None  # an ancestor's row that an opaque folder of the layer hides
    gone: bool = False  # versions of farther ancestors are not visible
    blocked: bool = False  # nothing of farther ancestors is visible below


class _Seen(NamedTuple):
    """A row with its path and its kind: `live`, `whiteout` or `opaque`."""

    path: list[str]
    kind: str
    row: AnyRow


def diff(own_rows: Iterable[AnyRow], ancestors_rows: Iterable[Iterable[AnyRow]]) -> Diff:
    """Compare a layer with its ancestors, the nearest first; see `Comparison`."""
    comparison = Comparison()
    comparison.add_own(own_rows)
    ancestors = iter(ancestors_rows)
    while not comparison.is_complete and (rows := next(ancestors, None)) is not None:
        comparison.add_ancestor(rows)
    return comparison.result()


class Comparison:
    """Compares a layer's files with those of one ancestor after the other, the nearest first.

    Only the layer's own rows and the names below its opaque folders stay in memory. `max_names` limits
    the nodes of the tree; the methods raise `LayerTooLarge` beyond it.
    """

    def __init__(self, max_names: int | None = None) -> None:
        self._left = max_names
        self._root = _Node()
        self._live: dict[int, tuple[_Node, AnyRow]] = {}
        self._pending = 0  # files of the layer that were in no ancestor yet
        self._opaque = False

    @property
    def is_complete(self) -> bool:
        """Whether no further ancestor can change the result."""
        # Without an opaque folder, the result is final once all files are found in ancestors.
        return not self._pending and not self._opaque

    def add_own(self, rows: Iterable[AnyRow]) -> None:
        """Add the layer's own rows, before those of any ancestor."""
        for seen in map(_read, rows):
            if seen is not None:
                self._plant(seen)
        self._pending = len(self._live)
        self._opaque = _find_opaque(self._root)

    def result(self) -> Diff:
        """Return `{"deleted", "changed", "created"}`, each name -> the last seven fields of a row."""
        answer: Diff = {"deleted": {}, "changed": {}, "created": {}}
        for node, row in self._live.values():
            answer["changed" if node.existed else "created"][row[0]] = list(row[1:])
        _collect_deleted(self._root, answer["deleted"])
        return answer

    def clear(self) -> None:
        """Free the memory."""
        self._root, self._live = _Node(), {}

    def _child(self, node: _Node, name: str) -> _Node:
        """Return the child node of this name; create it if necessary."""
        if node.children is None:
            node.children = {}
        child = node.children.get(name)
        if child is None:
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise LayerTooLarge("too many names to compare")
            child = node.children[name] = _Node()
        return child

    def _plant(self, seen: _Seen) -> None:
        """Put a row of the layer into the tree."""
        node = self._root
        for part in seen.path:
            node.kept = True
            node = self._child(node, part)
        if seen.kind == "whiteout":
            node.whiteout = seen.row
        elif seen.kind == "opaque":
            node.opaque = True
        else:
            node.row = seen.row  # the last row of a name counts, as in 0.x
            self._live[id(node)] = (node, seen.row)

    def add_ancestor(self, rows: Iterable[AnyRow]) -> None:
        """Compare the next ancestor's rows with the tree."""
        gone: list[_Node] = []
        blocked: list[_Node] = []
        for seen in map(_read, rows):
            if seen is None:
                continue
            node = self._descend(seen.path)
            if node is None:
                continue
            if seen.kind == "live":
                if not node.gone:
                    node.gone = True  # farther versions are older
                    if node.row is not None:
                        node.existed = True
                        self._pending -= 1
                    else:
                        node.vanished = seen.row
                if seen.row[1] != "d":
                    blocked.append(node)
            else:
                blocked.append(node)
                if seen.kind == "whiteout":
                    gone.append(node)
        # Only now, because a layer's whiteouts do not hide its own files.
        for node in gone:
            node.gone = True
        for node in blocked:
            node.blocked = True

    def _descend(self, path: list[str]) -> _Node | None:
        """Return the node of an ancestor's name; None if it is not visible or not relevant.

        Below the layer's opaque folders every name is relevant, so nodes are created there.
        """
        node = self._root
        grows = False
        for part in path:
            if node.blocked or (node.row is not None and node.row[1] != "d"):
                return None
            grows = grows or node.opaque
            known = node.children.get(part) if node.children else None
            if known is None:
                if not grows:
                    return None
                known = self._child(node, part)
            node = known
        return node


def _read(row: AnyRow) -> _Seen | None:
    """Return the path and kind of a row; None for entries of the union file system itself."""
    path = [part for part in str(row[0]).split("/") if part and part != "."]
    if not path or WHITEOUT not in str(row[0]):
        return _Seen(path, "whiteout" if row[2] else "live", row)
    if path[-1] == OPAQUE and not any(part.startswith(UNION) for part in path[:-1]):
        return _Seen(path[:-1], "opaque", row)
    if any(part.startswith(UNION) for part in path):
        return None
    if path[-1] in WHITEOUTS_OF_FOLDER:
        folder = str(row[0]).rstrip("/").rpartition("/")[0] or "/"
        return _Seen(path[:-1], "whiteout", [folder, row[1], True, *row[3:]])
    hidden = hidden_name(path[-1])
    if hidden is None:
        return _Seen(path, "whiteout" if row[2] else "live", row)
    name = str(row[0]).rstrip("/")
    shown = name[: len(name) - len(path[-1])] + hidden
    return _Seen([*path[:-1], hidden], "whiteout", [shown, row[1], True, *row[3:]])


def _find_opaque(root: _Node) -> bool:
    """Mark folders that the layer deletes and has as opaque; return whether there is one."""
    found = False
    todo = [root]
    while todo:
        node = todo.pop()
        if node.row is not None and node.row[1] == "d" and node.whiteout is not None:
            node.opaque = True
        found = found or node.opaque
        todo.extend((node.children or {}).values())
    return found


def _collect_deleted(root: _Node, deleted: dict[str, list[Any]]) -> None:
    """Collect the whiteouts, and the topmost names that disappeared below opaque folders."""
    todo = [(root, root.opaque)]
    while todo:
        node, hides = todo.pop()
        if node.row is None and node.whiteout is not None:
            deleted[node.whiteout[0]] = list(node.whiteout[1:])
            hides = False  # the whiteout includes all that is below
        elif node.row is None and not node.kept and node.vanished is not None and hides:
            name, kind, _, *rest = node.vanished
            deleted[name] = [kind, True, *rest]
            hides = False
        for child in (node.children or {}).values():
            todo.append((child, hides or node.opaque))
