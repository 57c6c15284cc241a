"""The file listing of a layer, in the format of `images/ID/_files` and of the `files` answer.

A row is `[name, type, deleted, size, mtime, mode, uid, gid]`. The type is one letter of `TYPES` or
`u`, the size is in bytes, and mtime in whole seconds since the epoch. Names are written as in 0.x:
`./a` becomes `/a`, the root becomes `/`, `a` stays `a`, and a folder has no slash at its end. Bytes
that are not UTF-8 become U+FFFD, because JSON cannot contain them.

A whiteout `.wh.NAME`, at any depth, is a row with the real name and `deleted` true. `.wh.` without a
name deletes the folder that contains it, as in engines and 0.x: `./.wh.` deletes `/`. In an opaque
folder (marker `.wh..wh..opq`), nothing of older layers is visible. It is listed as a deletion of the
folder followed by the folder itself. 0.x uses the last row of a name, so it reads an ordinary folder.
Other entries of the union file system (`.wh..wh.*`) are omitted.
"""

from __future__ import annotations

from v1registry.lib.layers.tar_header import raw
from v1registry.lib.layers.tar_stream import LayerTooLarge, Readable, TarEntry, entries

Row = list[str | int | bool]

WHITEOUT = ".wh."
WHITEOUTS_OF_FOLDER = (".wh.", ".wh..")  # they delete the folder that contains them
UNION = ".wh..wh."
OPAQUE = ".wh..wh..opq"

TYPES = {
    "0": "f",
    "\0": "f",
    "1": "l",
    "2": "s",
    "3": "c",
    "4": "b",
    "5": "d",
    "6": "i",
    "7": "t",
    "L": "L",
    "K": "K",
    "S": "S",
}

_MAX_NAME = 4096  # bytes: PATH_MAX, so no engine can unpack a longer name
_MEAN_NAME = 256  # bytes: the limit for the average name, so that memory is bounded


def list_files(
    file: Readable, max_bytes: int | None = None, max_entries: int | None = None
) -> list[Row]:
    """Return the rows of a layer, in the order of the tar.

    `max_bytes` counts decompressed bytes. All names together may have 256 bytes for each of
    `max_entries`, so memory is bounded by about 600 bytes for each entry. Raise `LayerUnreadable` or
    `LayerTooLarge`.
    """
    rows: list[Row] = []
    opaque: dict[str, Row] = {}
    name_bytes_left = None if max_entries is None else max_entries * _MEAN_NAME
    for entry in entries(file, max_bytes, max_entries):
        if entry.typeflag == "g":
            continue  # a global pax header is not a file
        name = _name(entry)
        if len(name) > _MAX_NAME:
            raise LayerTooLarge("a name is longer than any file system allows")
        if name_bytes_left is not None:
            name_bytes_left -= len(name)
            if name_bytes_left < 0:
                raise LayerTooLarge("the names of the layer's entries are too long")
        folder, slash, last = name.rpartition("/")
        if last == OPAQUE and not _is_union(folder):
            # without a folder before it, the marker is about the root
            opaque.setdefault(folder or "/", _row(entry, folder or "/", "d", deleted=True))
        elif _is_union(name):
            continue
        elif last in WHITEOUTS_OF_FOLDER:
            rows.append(_row(entry, folder or "/", deleted=True))
        elif (hidden := hidden_name(last)) is not None:
            rows.append(_row(entry, folder + slash + hidden, deleted=True))
        else:
            rows.append(_row(entry, name))
    return _mark_opaque(rows, opaque)


def hidden_name(name: str) -> str | None:
    """Return the name that a whiteout deletes, or None if `name` is not a whiteout."""
    if not name.startswith(WHITEOUT) or name.startswith(UNION):
        return None
    hidden = name[len(WHITEOUT) :]
    return None if hidden in ("", ".", "..") else hidden


def _is_union(name: str) -> bool:
    """Return whether a name is, or is below, an entry of the union file system itself."""
    return name.startswith(UNION) or f"/{UNION}" in name


def _name(entry: TarEntry) -> str:
    name = entry.name if entry.sparse_name is None else entry.sparse_name
    if _is_folder(entry):
        name = name.rstrip("/") or "/"
    if name == ".":
        name = "/"
    elif name.startswith("./"):
        name = name[1:]
    return raw(name).decode("utf-8", "replace")


def _is_folder(entry: TarEntry) -> bool:
    # v7 archives have no folders, only files whose name ends in a slash
    return entry.typeflag == "5" or (entry.typeflag == "\0" and entry.name.endswith("/"))


def _row(entry: TarEntry, name: str, letter: str | None = None, *, deleted: bool = False) -> Row:
    if letter is None:
        letter = "d" if _is_folder(entry) else TYPES.get(entry.typeflag, "u")
    size = entry.size if entry.sparse_size is None else entry.sparse_size
    return [name, letter, deleted, size, entry.mtime, entry.mode, entry.uid, entry.gid]


def _mark_opaque(rows: list[Row], opaque: dict[str, Row]) -> list[Row]:
    """Put the deletion before its folder; a folder that has no row of its own gets one."""
    if not opaque:
        return rows
    marked: list[Row] = []
    for row in rows:
        deletion = opaque.pop(str(row[0]), None) if row[1] == "d" and not row[2] else None
        if deletion is not None:
            marked.append(deletion)
        marked.append(row)
    for deletion in opaque.values():
        marked.append(deletion)
        marked.append([deletion[0], "d", False, 0, deletion[4], 0o755, *deletion[6:]])
    return marked
