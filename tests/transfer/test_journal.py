"""The journal of a migration, and broken journals."""

from __future__ import annotations

from pathlib import Path

import pytest

from v1registry.transfer.errors import TransferError
from v1registry.transfer.journal import Journal

TO = "https://registry.example"


def written(path: Path) -> None:
    journal = Journal(path, TO)
    journal.note_upload("team/app", "sha256:a", "https://registry.example/u/1")
    journal.note_upload("team/app", "sha256:b", "https://registry.example/u/2")
    journal.note_blob("team/app", "sha256:a")
    journal.note_blob("other", "sha256:a")
    journal.note_tag("team/app", "1", "ff" * 32, "sha256:m")
    journal.close()


def test_the_next_run_reads_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert Journal(None, TO).repositories_with("sha256:a") == []
    written(path)
    again = Journal(path, TO)
    assert again.repositories_with("sha256:a") == ["team/app", "other"]
    assert again.repositories_with("sha256:b") == []
    assert again.upload("team/app", "sha256:a") is None  # the upload is finished
    assert again.upload("team/app", "sha256:b") == "https://registry.example/u/2"
    assert again.tag("team/app", "1") == ("ff" * 32, "sha256:m")
    assert again.tag("team/app", "2") is None
    again.close()


@pytest.mark.parametrize("kept", [1, 20, 80, 200, -1])
def test_a_truncated_line_is_ignored(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "journal"
    written(path)
    path.write_bytes(path.read_bytes()[:kept])
    journal = Journal(path, TO)
    journal.note_blob("late", "sha256:z")
    journal.close()
    again = Journal(path, TO)
    assert again.repositories_with("sha256:z") == ["late"]
    again.close()


def test_a_journal_belongs_to_one_target(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path)
    with pytest.raises(TransferError, match=f"to {TO}: name another"):
        Journal(path, "https://elsewhere.example")


def test_a_journal_belongs_to_one_run(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first = Journal(path, TO)
    with pytest.raises(TransferError, match="another migration"):
        Journal(path, TO)
    first.close()
    Journal(path, TO).close()


@pytest.mark.parametrize("text", ["not ours\nat all\n", '{"a": 1}\n{}\n', "[]\n[]\n"])
def test_another_file_is_not_overwritten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes"
    path.write_text(text)
    with pytest.raises(TransferError, match="is not the journal of a migration"):
        Journal(path, TO)
    assert path.read_text() == text


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="cannot be opened"):
        Journal(tmp_path, TO)
