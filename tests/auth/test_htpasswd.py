"""Accounts in a password file, and its changes while the registry runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from v1registry.auth import htpasswd
from v1registry.auth.htpasswd import PasswordFile
from v1registry.lib.auth import passwords

HASHES = {name: passwords.hash(f"password of {name}", 4) for name in ("ann", "bob")}


def run(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(htpasswd, "_CHECK_INTERVAL", 0.0)
    path = tmp_path / "htpasswd"
    path.write_text(f"ann:{HASHES['ann']}\n")
    return path


def test_passwords(path: Path) -> None:
    accounts = PasswordFile(str(path), run)
    assert accounts.groups("ann", "password of ann", "") == frozenset()
    assert accounts.groups("ann", "password of bob", "") is None
    assert accounts.groups("bob", "password of bob", "") is None
    assert accounts.state("ann") == HASHES["ann"]
    assert accounts.state("bob") == ""


def test_a_changed_file_is_read_again(path: Path) -> None:
    accounts = PasswordFile(str(path), run)
    path.write_text(f"bob:{HASHES['bob']}\n# a comment that changes the size\n")
    assert accounts.state("bob") == HASHES["bob"]
    assert accounts.groups("bob", "password of bob", "") == frozenset()
    assert accounts.groups("ann", "password of ann", "") is None


@pytest.mark.parametrize("text", ["ann:plain text\n", "ann\n", None])
def test_the_accounts_of_the_last_valid_file_remain(
    path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    accounts = PasswordFile(str(path), run)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    for _ in range(3):
        assert accounts.state("ann") == HASHES["ann"]
    [record] = caplog.records  # once for each state of the file
    assert record.levelno == logging.ERROR
    assert str(path) in record.getMessage()
    assert "plain text" not in record.getMessage()
    path.write_text(f"bob:{HASHES['bob']}\n")
    assert accounts.state("bob") == HASHES["bob"]


def test_an_invalid_file_stops_the_start(path: Path) -> None:
    path.write_text("ann:plain text\n")
    with pytest.raises(ValueError, match="line 1 holds no bcrypt hash"):
        PasswordFile(str(path), run)


def test_a_file_is_not_checked_at_every_request(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(htpasswd, "_CHECK_INTERVAL", 3600.0)
    accounts = PasswordFile(str(path), run)
    path.write_text(f"bob:{HASHES['bob']}\n")
    assert accounts.state("bob") == ""
