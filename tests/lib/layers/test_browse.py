"""Pages of file listings: the tree, the search, the changes."""

from __future__ import annotations

import pytest

from v1registry.lib.layers import browse
from v1registry.lib.layers.browse import FilePage

ROWS = [
    ["/", "d", False, 0, 5, 0, 0, 0],
    ["/etc", "d", False, 0, 7, 0, 0, 0],
    ["/etc/passwd", "f", False, 100, 8, 0, 0, 0],
    ["./etc/apt/sources", "f", False, 20, 8, 0, 0, 0],
    ["bin/sh", "l", False, 0, 8, 0, 0, 0],
    ["/etc/old", "f", True, 0, 8, 0, 0, 0],
    ["/zero", "s", False, 0, 8, 0, 0, 0],
]


def shown(page: FilePage) -> list[tuple[str, str, int, int]]:
    return [(one.name, one.kind, one.size, one.files) for one in page.entries]


def test_a_folder_has_the_sizes_of_all_below():
    page = browse.folder(ROWS, (), 0, 10)
    assert shown(page) == [("bin", "d", 0, 1), ("etc", "d", 120, 2), ("zero", "s", 0, 0)]
    assert (page.total, page.files, page.size) == (3, 4, 120)
    assert [one.modified for one in page.entries] == [None, 7, 8]


def test_a_folder_below():
    page = browse.folder(ROWS, browse.path_of("/etc/"), 0, 10)
    assert shown(page) == [("apt", "d", 20, 1), ("old", "f", 0, 0), ("passwd", "f", 100, 0)]
    assert [one.is_deleted for one in page.entries] == [False, True, False]
    assert browse.folder(ROWS, ("none",), 0, 10).total == 0


def test_pages_of_a_folder():
    rows = [[f"/{number:03}", "f", False, 1, 1] for number in range(25)]
    page = browse.folder(rows, (), 20, 10)
    assert [one.name for one in page.entries] == ["020", "021", "022", "023", "024"]
    assert page.total == 25


def test_the_last_row_of_a_name_counts():
    rows = [["/a", "f", False, 9, 1], ["/a", "d", False, 0, 1], ["/a/b", "f", False, 3, 1]]
    assert shown(browse.folder(rows, (), 0, 10)) == [("a", "d", 3, 1)]
    assert shown(browse.folder(rows[::-1], (), 0, 10)) == [("a", "f", 9, 0)]


def test_search_ignores_case():
    page = browse.search(ROWS, "ETC/", 1, 2)
    assert [one.name for one in page.entries] == ["./etc/apt/sources", "/etc/old"]
    assert page.total == 3


def test_changes():
    members = [
        ("created", "/b", ["f", False, 5, 1]),
        ("created", "/a/x", ["f", False, 6, 1]),
        ("changed", "/a", ["d", False, 0, 1]),
        ("deleted", "/c", ["f", True, 0, 1]),
        ("other", "/d", []),
    ]
    page = browse.changes(members, "", "", 0, 10)
    assert [(one.name, one.change) for one in page.entries] == [
        ("/b", "created"),
        ("/a/x", "created"),
        ("/a", "changed"),
        ("/c", "deleted"),
    ]
    assert page.counts == {"created": 2, "changed": 1, "deleted": 1}
    page = browse.changes(members, "created", "X", 0, 10)
    assert [one.name for one in page.entries] == ["/a/x"]
    assert (page.total, page.counts["deleted"]) == (1, 1)


@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        [None],
        ["/x"],
        [1, 2, 3, 4, 5],
        ["/x", "no", "yes", -1, -1],
        ["/\ud800", {}, [], 1e9, "x"],
    ],
)
def test_rows_that_0x_would_not_write(row: object):
    for page in (browse.folder([row], (), 0, 10), browse.search([row], "", 0, 10)):
        for entry in page.entries:
            assert entry.name.encode()
            assert (entry.kind, entry.size, entry.modified, entry.is_deleted) == (
                "u",
                0,
                None,
                False,
            )
