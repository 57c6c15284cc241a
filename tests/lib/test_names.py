"""Legal names, and names that must be refused (protocol-v1.md sections 1, 8, 9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName, Tag

A64, A16 = "a" * 64, "0123456789abcdef"


@pytest.mark.parametrize("text", [A64, A16, "0" * 64])
def test_image_ids(text: str) -> None:
    assert ImageId.parse(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "a", "A" * 64, "g" * 64, "a" * 63, "a" * 65, "a" * 17, A64 + "\n", "\n" + A64, "../" + A64,
     "a" * 61 + "/..", "\u0661" * 64, "\uff41" * 64, None, 5, [A64], {"id": A64}, True],
)  # fmt: skip
def test_wrong_image_ids(text: object) -> None:
    with pytest.raises(Failure) as caught:
        ImageId.parse(text)
    assert (caught.value.status, caught.value.text) == (404, "Invalid image ID")
    assert not ImageId.is_valid(text)


@pytest.mark.parametrize(
    ("path", "namespace", "name"),
    [
        ("busybox", "library", "busybox"),
        ("library/busybox", "library", "busybox"),
        ("library/busybox/", "library", "busybox"),
        ("team/app", "team", "app"),
        ("team/app/deep/er", "team", "app/deep/er"),
        ("a.b_c-d/e.f_g-h", "a.b_c-d", "e.f_g-h"),
        ("x" * 100 + "/" + "y" * 100, "x" * 100, "y" * 100),
        ("image-s/tags.x", "image-s", "tags.x"),
    ],
)
def test_repositories(path: str, namespace: str, name: str) -> None:
    assert RepositoryName.parse(path) == (namespace, name)


@pytest.mark.parametrize(
    "path",
    ["", "/", "a//b", "a/", "/a", "a/../b", "../b", "a/..", ".", "..", "a/.", "a/b/../c", "A/b",
     "a/B", "a/b c", "a/b\n", "a\n/b", "a/b\x00", "\u00fc/b", "a/%2e%2e", "a%2Fb", "a/b~c", "a/b:c",
     "x" * 256, "a/" + "x" * 255, "a/images", "tags", "a/b/json", "a/properties", "a/auth",
     "a/" + "b/" * 60 + "c"],
)  # fmt: skip
def test_wrong_repositories(path: str) -> None:
    if path == "a/":
        assert str(RepositoryName.parse(path)) == "library/a"
        return
    with pytest.raises(Failure) as caught:
        RepositoryName.parse(path)
    assert (caught.value.status, caught.value.text) == (400, "Invalid repository name")


def test_folders() -> None:
    assert RepositoryName.parse("a/b").folders == ("repositories/a/b",)
    assert RepositoryName.parse("a/b/c").folders == (
        "repositories/a/b%252Fc",
        "repositories/a/b%2Fc",
    )


@pytest.mark.parametrize("text", ["latest", "1.0", "_x", "x_json", "A-b.c", "0", "t" * 128])
def test_tags(text: str) -> None:
    assert Tag.parse(text) == Tag.parse_existing(text) == text


@pytest.mark.parametrize(
    "text", ["", ".x", "-x", "a b", "a/b", "a:b", "t" * 129, "x\n", "\u00e9", "a\x00"]
)
def test_wrong_tags(text: str) -> None:
    with pytest.raises(Failure) as caught:
        Tag.parse(text)
    assert caught.value.status == 400
    assert caught.value.text == r"Invalid tag name (must match ^[\w][\w.-]{0,127}$)"


@pytest.mark.parametrize("text", ["a b", "-x", "a:b", "\u00e9"])
def test_tags_of_old_stores_can_be_read(text: str) -> None:
    assert Tag.parse_existing(text) == text


@pytest.mark.parametrize("text", ["", "a\n", "a\x00", "t" * 300, "\u00e9" * 100])
def test_tags_that_no_store_contains(text: str) -> None:
    with pytest.raises(Failure) as caught:
        Tag.parse_existing(text)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("Foo/Bar", "Foo/Bar"),
        ("%$_", "library/%2525%2524_"),
        ("%$_", "library/%25%24_"),
        ("a $/b", "a+%24/b"),
        ("a $/b", "a $/b"),
        ("a/b~c", "a/b%257Ec"),
        ("a/b+c", "a/b%252Bc"),
        ("a/b/C", "a/b%2FC"),
    ],
)
def test_names_that_only_old_stores_contain(path: str, folder: str) -> None:
    found = RepositoryName.parse_stored(path)
    assert not found.is_legal
    assert f"repositories/{folder}" in found.folders
    assert RepositoryName.of_folders(*folder.split("/")) == found
    assert RepositoryName.parse_quoted(found.quoted) == found
    with pytest.raises(Failure):
        RepositoryName.parse(path)


@pytest.mark.parametrize(
    "path",
    ["", "/", "a//b", "A//b", "../B", "A/..", "A/../b", "A/./b", "A/b\n", "A/\x00", "A/\ud800",
     "a/images", "A/tags", "A/" + "b" * 254, "A/" + "%" * 100, "\u00e9" * 90],
)  # fmt: skip
def test_names_that_no_store_contains(path: str) -> None:
    with pytest.raises(Failure) as caught:
        RepositoryName.parse_stored(path)
    assert (caught.value.status, caught.value.text) == (400, "Invalid repository name")


@pytest.mark.parametrize("folders", ["a/%61", "a/b%2fc", "a/b%0A", "a/%2E%2E", "a/tags"])
def test_folders_that_no_name_leads_to(folders: str) -> None:
    assert RepositoryName.of_folders(*folders.split("/")) is None


@pytest.mark.parametrize(
    ("path", "other"),
    [("a/b%2Fc", "a/b/c"), ("a/b%252Fc", "a/b%2Fc"), ("a+b/c", "a b/c"), ("A/b%2Bc", "A/b+c")],
)
def test_no_name_leads_to_the_folder_of_another(path: str, other: str) -> None:
    """Otherwise a client could read a repository under a name with other access rules."""
    written = RepositoryName.parse_stored(other).folder
    assert written not in RepositoryName.parse_stored(path).folders
    assert str(RepositoryName.of_folders(*written.split("/")[1:])) == other


@given(
    st.text(st.characters(exclude_characters="/"), min_size=1, max_size=20), st.text(max_size=40)
)
def test_a_folder_is_the_repository_that_it_is_read_as(namespace: str, folder: str) -> None:
    found = RepositoryName.of_folders(namespace, folder)
    if found is not None:
        assert f"repositories/{namespace}/{folder}" in found.folders
        assert RepositoryName.parse_stored(str(found)) == found


@given(st.text(max_size=80))
def test_no_repository_leaves_the_store(path: str) -> None:
    try:
        name = RepositoryName.parse_stored(path)
    except Failure:
        return
    for folder in name.folders:
        top, namespace, last = folder.split("/")
        assert top == "repositories"
        assert namespace not in ("", ".", "..")
        assert last not in ("", ".", "..")
        assert "\n" not in folder
        if name.is_legal or folder == name.folder:
            assert folder.isascii()
            assert folder.isprintable()
    assert RepositoryName.parse_stored(str(name)) == name
    assert RepositoryName.parse_quoted(name.quoted) == name
