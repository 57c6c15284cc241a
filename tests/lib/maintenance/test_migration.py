"""The command line of a migration, and what a page shows of it."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v1registry.commands.migrate import migrate
from v1registry.lib.maintenance.migration import command_line
from v1registry.lib.repositories.selection import NameSelection, registry_url

words = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"]), min_size=1, max_size=20),
    max_size=3,
)


def parsed(command: str) -> dict[str, Any]:
    """Return the options that the shell and then the command get."""
    program, name, *arguments = shlex.split(command)
    assert (program, name) == ("v1registry", "migrate")
    context = migrate.make_context(name, arguments)
    assert context.args == []
    return context.params


@given(words, words, st.sampled_from(["docker", "oci"]), st.booleans())
def test_the_command_gets_exactly_what_was_typed(
    repositories: list[str], tags: list[str], form: str, is_dry: bool
) -> None:
    rules = ["team/=$(reboot)/", "a;b=-c"]
    selection = NameSelection(repositories, tags)
    url = "https://registry.example.org:5000"
    found = parsed(command_line(url, selection, rules, form=form, is_dry=is_dry))
    assert (found["target"], found["form"], found["dry_run"]) == (url, form, is_dry)
    assert found["repositories"] == tuple(repositories)
    assert found["tags"] == tuple(tags)
    assert found["names"] == tuple(rules)


def test_a_simple_command_is_readable() -> None:
    selection = NameSelection(["team/*"], ["latest"])
    assert command_line("https://x", selection, [], form="docker", is_dry=True) == (
        "v1registry migrate --to https://x --repositories 'team/*' --tags latest --dry-run"
    )


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("registry.example.org", "https://registry.example.org"),
        ("localhost:5000", "https://localhost:5000"),
        ("http://10.0.0.1:5000/", "http://10.0.0.1:5000"),
        ("https://[::1]:5000", "https://[::1]:5000"),
    ],
)
def test_urls_of_registries(text: str, url: str) -> None:
    assert registry_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "", "ftp://x", "https://", "https://x:port", "https://x:99999", "https://[x", "https://x y",
        "https://x/path", "https://x?a=b", "https://x#a", "https://x\ny", "javascript:alert(1)//",
    ],
)  # fmt: skip
def test_other_texts_are_no_urls(text: str) -> None:
    with pytest.raises(ValueError, match="must be https://host"):
        registry_url(text)


def test_no_message_shows_a_password() -> None:
    with pytest.raises(ValueError, match="docker login") as caught:
        registry_url("https://user:secret@host")
    assert "secret" not in str(caught.value)
