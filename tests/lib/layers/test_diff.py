"""The changes of a layer, compared with a model of how engines stack layers."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lib.tars import folder, member, tar
from v1registry.lib.layers.diff import diff
from v1registry.lib.layers.files import list_files


def rows(*names: str) -> list[list[object]]:
    """Rows of a layer: `d/` a folder, `d/.wh.f` a whiteout, `d/.wh..wh..opq` an opaque folder."""
    members = [folder(name) if name.endswith("/") else member(name) for name in names]
    return list_files(io.BytesIO(tar(members)))  # type: ignore[return-value]


def names(own: list[list[object]], *ancestors: list[list[object]]) -> dict[str, set[str]]:
    return {kind: set(found) for kind, found in diff(own, ancestors).items() if found}


def test_the_form_is_that_of_0_x():
    own = [["f", "f", False, 1, 2, 3, 4, 5], ["gone", "f", True, 0, 2, 3, 4, 5]]
    old = [["f", "f", False, 9, 9, 9, 9, 9]]
    assert diff(own, [old]) == {
        "deleted": {"gone": ["f", True, 0, 2, 3, 4, 5]},
        "changed": {"f": ["f", False, 1, 2, 3, 4, 5]},
        "created": {},
    }
    json.dumps(diff(own, [old]))


def test_without_ancestors_all_is_created():
    assert names(rows("a", "d/", "d/b")) == {"created": {"a", "d", "d/b"}}
    assert diff([], []) == {"deleted": {}, "changed": {}, "created": {}}


def test_the_nearest_ancestor_counts():
    gone, there = rows(".wh.f"), rows("f")
    assert names(rows("f"), gone, there) == {"created": {"f"}}
    assert names(rows("f"), there, gone) == {"changed": {"f"}}
    assert names(rows("f"), rows("x"), there) == {"changed": {"f"}}


def test_deletions_of_the_layer_itself():
    assert names(rows("d/", "d/.wh.f"), rows("d/", "d/f")) == {
        "deleted": {"d/f"},
        "changed": {"d"},
    }
    # deleted and made anew in one layer is a change
    assert names(rows(".wh.f", "f"), rows("f")) == {"changed": {"f"}}
    assert names(rows(".wh.f", "f")) == {"created": {"f"}}


def test_below_a_folder_that_a_nearer_ancestor_deleted():
    old = rows("d/", "d/s/", "d/s/f")
    assert names(rows("d/", "d/s/", "d/s/f"), rows(".wh.d"), old) == {
        "created": {"d", "d/s", "d/s/f"}
    }
    assert names(rows("d/s/f"), rows("d/", "d/.wh.s"), old) == {"created": {"d/s/f"}}


def test_below_a_folder_that_a_nearer_ancestor_made_opaque():
    old = rows("d/", "d/a", "d/b")
    opaque = rows("d/", "d/.wh..wh..opq", "d/b")
    assert names(rows("d/", "d/a", "d/b"), opaque, old) == {
        "changed": {"d", "d/b"},
        "created": {"d/a"},
    }
    assert names(rows("f", "g"), rows("./", "./.wh..wh..opq", "./g"), rows("f", "g")) == {
        "created": {"f"},
        "changed": {"g"},
    }


def test_below_a_folder_that_a_nearer_ancestor_replaced():
    assert names(rows("d/", "d/f"), rows("d"), rows("d/", "d/f")) == {
        "changed": {"d"},
        "created": {"d/f"},
    }


def test_an_opaque_folder_lists_what_disappears():
    old = rows("d/", "d/a", "d/s/", "d/s/x", "d/t/", "d/t/y", "d/t/z", "e")
    own = rows("d/", "d/.wh..wh..opq", "d/a", "d/t/", "d/t/y")
    assert names(own, old) == {"changed": {"d", "d/a", "d/t", "d/t/y"}, "deleted": {"d/s", "d/t/z"}}
    assert diff(own, [old])["deleted"]["d/s"][:2] == ["d", True]
    # a file that a nearer ancestor deleted does not disappear again
    assert names(rows("d/", "d/.wh..wh..opq"), rows("d/", "d/.wh.a", "d/.wh.s"), old) == {
        "changed": {"d"},
        "deleted": {"d/t"},
    }


def test_a_folder_that_lives_on_only_in_a_name_does_not_vanish():
    own = rows("d/", "d/.wh..wh..opq", "d/s/new")
    assert names(own, rows("d/", "d/s/", "d/s/old")) == {
        "changed": {"d"},
        "created": {"d/s/new"},
        "deleted": {"d/s/old"},
    }


@pytest.mark.parametrize("name", [".wh.", ".wh.."])
def test_a_whiteout_without_a_name_deletes_its_folder(name: str) -> None:
    old = rows("./", "./d/", "./d/a", "./e")
    assert names(rows(f"d/{name}"), old) == {"deleted": {"d"}}
    assert names(rows(name), old) == names(rows(f"./{name}"), old) == {"deleted": {"/"}}
    assert names(rows("d/", "d/a", "e"), rows(f"d/{name}"), old) == {
        "created": {"d", "d/a"},
        "changed": {"e"},
    }
    # as 0.x stored such a row below the root
    raw = [["d/.wh.", "f", False, *rows("x")[0][3:]]]
    assert names(raw, old) == {"deleted": {"d"}}


def test_an_opaque_root():
    assert names(rows("./", "./.wh..wh..opq", "./new"), rows("./", "./a/", "./a/b", "./c")) == {
        "changed": {"/"},
        "created": {"/new"},
        "deleted": {"/a", "/c"},
    }


def test_a_whiteout_and_things_below_it():
    own = rows("d/", "d/.wh.s", "d/s/new")
    assert names(own, rows("d/", "d/s/", "d/s/new", "d/s/old")) == {
        "changed": {"d", "d/s/new"},
        "deleted": {"d/s"},
    }


def test_names_of_different_engines_are_compared_by_components():
    assert names(rows("./", "./a", "./d/", "./d/.wh.x"), rows("a", "d/")) == {
        "created": {"/"},
        "changed": {"/a", "/d"},
        "deleted": {"/d/x"},
    }


def test_files_that_0_x_stored():
    """0.x detected whiteouts only at the root: below it, `_files` contains their raw names."""
    tail = [0, 0, 0o644, 0, 0]
    ancestor = [["d/.wh.f", "f", False, *tail], ["e/.wh..wh..opq", "f", False, *tail]]
    old = [
        ["d/f", "f", False, *tail],
        ["e/f", "f", False, *tail],
        ["e/.wh..wh.x", "f", False, *tail],
    ]
    own = [["d/f", "f", False, *tail], ["e/f", "f", False, *tail]]
    assert names(own, ancestor, old) == {"created": {"d/f", "e/f"}}
    assert diff([["d/.wh.f", "f", False, *tail]], [old])["deleted"] == {"d/f": ["f", True, *tail]}
    assert names([["e", "d", False, *tail], ["e/.wh..wh..opq", "f", False, *tail]], old) == {
        "created": {"e"},
        "deleted": {"e/f"},
    }


def test_ancestors_are_read_only_as_far_as_needed():
    def ancestors():
        yield rows("a", "b")
        raise AssertionError("read too far")

    assert diff(rows("a", "b", ".wh.c"), ancestors())["changed"].keys() == {"a", "b"}


def test_very_deep_names():
    deep = "/".join("d" * 2000)
    tail = [0, 0, 0o644, 0, 0]
    own = [["x", "d", True, *tail], ["x", "d", False, *tail], [f"x/{deep}", "f", False, *tail]]
    old = [[f"x/{deep}", "f", False, *tail], [f"x/{deep[:-1]}e", "f", False, *tail]]
    assert names(own, old) == {
        "created": {"x"},
        "changed": {f"x/{deep}"},
        "deleted": {f"x/{deep[:-1]}e"},
    }


# ---- the model: layers stacked by an engine

Path = tuple[str, ...]
PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)
KINDS = st.sampled_from(["file", "folder", "opaque", "whiteout"])


@st.composite
def layers(draw):
    """A layer as engines make it: the folders of every entry are entries as well."""
    chosen = draw(st.dictionaries(PATHS, KINDS, max_size=7))
    layer: dict[Path, str] = {}
    for path in sorted(chosen):
        parents = [path[:end] for end in range(1, len(path))]
        if any(layer.get(parent, "folder") in ("file", "whiteout") for parent in parents):
            continue
        for parent in parents:
            layer.setdefault(parent, "folder")
        layer[path] = chosen[path]
    return layer


def as_rows(layer: dict[Path, str]) -> list[list[object]]:
    found = []
    for path, kind in layer.items():
        name = "/".join(path)
        if kind == "whiteout":
            found.append("/".join([*path[:-1], ".wh." + path[-1]]))
        else:
            found.append(name if kind == "file" else name + "/")
        if kind == "opaque":
            found.append(name + "/.wh..wh..opq")
    return rows(*found)


def below(path: Path, folder: Path) -> bool:
    return len(path) > len(folder) and path[: len(folder)] == folder


def stack(files: set[Path], layer: dict[Path, str]) -> set[Path]:
    """Return the files after an engine has unpacked a layer onto `files`."""
    for path, kind in layer.items():
        if kind != "folder":
            files = {file for file in files if not below(file, path)}
        if kind == "whiteout":
            files.discard(path)
    return files | {path for path, kind in layer.items() if kind != "whiteout"}


def expected(own: dict[Path, str], before: set[Path]) -> dict[str, set[str]]:
    live = {path for path, kind in own.items() if kind != "whiteout"}
    whiteouts = set(own) - live
    opaque = {path for path in own if own[path] == "opaque"}
    closed = whiteouts | {path for path in own if own[path] == "file"}
    vanished = {
        path
        for path in before - live - whiteouts
        if any(below(path, folder) for folder in opaque)
        and not any(below(path, above) for above in closed)
    }
    topmost = {path for path in vanished if not any(below(path, other) for other in vanished)}
    answer = {"deleted": whiteouts | topmost, "changed": live & before, "created": live - before}
    return {kind: {"/".join(path) for path in paths} for kind, paths in answer.items() if paths}


@settings(deadline=None, max_examples=400)
@given(layers(), st.lists(layers(), max_size=4))
def test_the_diff_is_what_an_engine_sees(own, ancestors):
    before: set[Path] = set()
    for layer in ancestors:
        before = stack(before, layer)
    nearest_first = [as_rows(layer) for layer in reversed(ancestors)]
    assert names(as_rows(own), *nearest_first) == expected(own, before)
