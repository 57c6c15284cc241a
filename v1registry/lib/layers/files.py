"""What a layer holds, as `images/ID/_files` and the `files` answer say it.

A row is `[name, type, deleted, size, mtime, mode, uid, gid]`: type one letter of
`TYPES` or `u`, size in bytes, mtime in whole seconds since the epoch. Names are
written as 0.x did: `./a` becomes `/a`, the root `/`, `a` stays `a`, a folder has
no slash at its end. Bytes that are no UTF-8 become U+FFFD, for JSON holds none.

Deletions: a whiteout `.wh.NAME`, at any depth, is a row with the real name and
`deleted` true. `.wh.` without a name deletes the folder that it lies in, as
engines and 0.x read it: `./.wh.` deletes `/`. An opaque folder (marker `.wh..wh..opq`: nothing older below it
shows) is a deletion of the folder followed by the folder itself, which is what
it means; 0.x, where the last row of a name counts, reads such a folder as an
ordinary one. Other entries of the union file system (`.wh..wh.*`) are left out.
"""

from __future__ import annotations

from v1registry.lib.layers.tar_stream import LayerTooLarge, Readable, TarEntry, entries

Row = list[str | int | bool]

WHITEOUT = ".wh."
WHITEOUTS_OF_FOLDER = (".wh.", ".wh..")  # they name the folder that they lie in
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

_MAX_NAME = 4096  # bytes: PATH_MAX, so no engine can unpack more
_MEAN_NAME = 256  # bytes: what names may take on average, so the rows stay in bounds


def list_files(
    file: Readable, max_bytes: int | None = None, max_entries: int | None = None
) -> list[Row]:
    """The rows of a layer, in the archive's order.

    `max_bytes` counts decompressed bytes; names may take 256 bytes an entry of
    `max_entries` altogether, so memory is bounded by about 600 bytes an entry.
    Raises `LayerUnreadable` and `LayerTooLarge`.
    """
    rows: list[Row] = []
    opaque: dict[str, Row] = {}
    room = None if max_entries is None else max_entries * _MEAN_NAME
    for entry in entries(file, max_bytes, max_entries):
        if entry.typeflag == "g":
            continue  # a global pax header, no file
        name = _name(entry)
        if len(name) > _MAX_NAME:
            raise LayerTooLarge("a name longer than any file system takes")
        if room is not None:
            room -= len(name)
            if room < 0:
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
    """The file name that a whiteout stands for, or None if it is no whiteout."""
    if not name.startswith(WHITEOUT) or name.startswith(UNION):
        return None
    hidden = name[len(WHITEOUT) :]
    return None if hidden in ("", ".", "..") else hidden


def _is_union(name: str) -> bool:
    """Whether a name is, or lies below, an entry of the union file system's own."""
    return name.startswith(UNION) or f"/{UNION}" in name


def _name(entry: TarEntry) -> str:
    name = entry.name if entry.sparse_name is None else entry.sparse_name
    if _is_folder(entry):
        name = name.rstrip("/") or "/"
    if name == ".":
        name = "/"
    elif name.startswith("./"):
        name = name[1:]
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


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
