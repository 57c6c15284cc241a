"""Selection of repositories and tags, and their names in the target and in the store."""

from __future__ import annotations

import pytest

from v1registry.lib.names import RepositoryName
from v1registry.transfer import selection
from v1registry.transfer.errors import TransferError
from v1registry.transfer.layout import NamedImage
from v1registry.transfer.selection import Selection


def name(text: str) -> RepositoryName:
    return RepositoryName.parse(text)


@pytest.mark.parametrize(
    ("globs", "repository", "wanted"),
    [
        ([], "team/app", True),
        (["team/*"], "team/app", True),
        (["team/*"], "team/app/web", True),
        (["team/*"], "other/app", False),
        (["*"], "library/busybox", True),
        (["busybox"], "library/busybox", True),
        (["library/busy*"], "busybox", True),
        (["busybox"], "team/busybox", False),
        (["a/b", "team/a?p"], "team/app", True),
    ],
)
def test_repositories(globs: list[str], repository: str, wanted: bool) -> None:
    assert Selection(globs).selects(str(name(repository))) is wanted


@pytest.mark.parametrize(
    ("globs", "tag", "wanted"),
    [([], "1.0", True), (["1.*"], "1.0", True), (["1.*"], "2.0", False), (["a", "2*"], "2", True)],
)
def test_tags(globs: list[str], tag: str, wanted: bool) -> None:
    assert Selection((), globs).selects_tag(tag) is wanted


@pytest.mark.parametrize(
    ("rules", "repository", "target"),
    [
        ([], "team/app", "team/app"),
        ([], "busybox", "library/busybox"),
        (["team/app=apps/app"], "team/app", "apps/app"),
        (["team/app=apps/app"], "team/app2", "team/app2"),
        (["team/=apps/"], "team/app", "apps/app"),
        (["team/=apps/", "team/app=one"], "team/app", "one"),
        (["busybox=tools/busybox"], "library/busybox", "tools/busybox"),
        (["library/=legacy/"], "busybox", "legacy/busybox"),
    ],
)
def test_targets(rules: list[str], repository: str, target: str) -> None:
    chosen = Selection((), (), [selection.rule(text) for text in rules])
    assert chosen.target(name(repository)) == target


@pytest.mark.parametrize("text", ["", "a", "=b", "a=", "a/=b", "a=b/"])
def test_bad_rules(text: str) -> None:
    with pytest.raises(TransferError, match="must be OLD=NEW"):
        selection.rule(text)


@pytest.mark.parametrize(
    ("target", "tag", "reason"),
    [
        ("team/app", "1.0", None),
        ("a/b/c", "_x", None),
        ("a--b/c__d", "x", None),
        ("_team/app", "1", "no name for a repository"),
        ("team/-app", "1", "no name for a repository"),
        ("team/a..b", "1", "no name for a repository"),
        ("x" * 256, "1", "no name for a repository"),
        ("team/app", "ä", "no tag"),
        ("team/app", "-x", "no tag"),
        ("team/app", "x" * 129, "no tag"),
    ],
)
def test_names_that_a_v2_registry_accepts(target: str, tag: str, reason: str | None) -> None:
    told = selection.refused(target, tag)
    assert (told is None) if reason is None else (reason in str(told))


class Bundle:
    """A bundle that only has names."""

    def __init__(self, *names: tuple[str, str | None]) -> None:
        self._names = [NamedImage(*pair) for pair in names]

    def images(self) -> list[NamedImage]:
        return self._names

    def chain(self, key: str) -> list[object]:
        return []


@pytest.mark.parametrize(
    ("written", "repository", "here"),
    [
        ("team/app:1.0", None, "team/app:1.0"),
        ("busybox:latest", None, "library/busybox:latest"),
        ("busybox", None, "library/busybox:latest"),
        ("localhost:5000/team/app:1", None, "team/app:1"),
        ("localhost/team/app:1", None, "team/app:1"),
        ("docker.io/library/busybox:1", None, "library/busybox:1"),
        ("registry.example/a/b/c:1", None, "a/b/c:1"),
        ("team/app:1@sha256:ab", None, "team/app:1"),
        ("1.0", "team/app", "team/app:1.0"),
        (None, "team/app", "team/app:latest"),
        ("other/name:2", "team/app", "team/app:2"),
    ],
)
def test_names_in_bundles(written: str | None, repository: str | None, here: str) -> None:
    (found,) = selection.selected_images(Bundle(("k", written)), Selection(), repository)
    assert str(found) == here


def test_names_are_chosen_and_mapped() -> None:
    bundle = Bundle(("1", "team/app:1"), ("2", "team/app:2"), ("3", "other/x:1"))
    chosen = Selection(["team/*"], ["2"], [("team/", "old/")])
    assert [str(item) for item in selection.selected_images(bundle, chosen, None)] == ["old/app:2"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([("1", None)], "has no name"),
        ([("1", "Team/App:1")], "Invalid repository name"),
        ([("1", "team/app:-")], "Invalid tag name"),
        ([("1", "a.example/x/y:1"), ("2", "x/y:1")], "would both become x/y:1"),
    ],
)
def test_bad_names_in_bundles(names: list[tuple[str, str | None]], reason: str) -> None:
    with pytest.raises(TransferError, match=reason):
        selection.selected_images(Bundle(*names), Selection(), None)
