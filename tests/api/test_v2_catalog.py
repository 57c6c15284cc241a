"""The v2 catalog reads a limited number of repositories for each page."""

from __future__ import annotations

from pathlib import Path

import pytest

from v1registry.api.v2 import lists
from v1registry.app import create_app
from v1registry.config import load_config


@pytest.mark.parametrize("read", [1, 2, 3, 100])
@pytest.mark.parametrize("size", [1, 2, 50])
def test_every_name_is_found_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int, size: int
) -> None:
    monkeypatch.setattr(lists, "LOOKED_AT", read)
    shown = []
    for number in range(12):
        folder = tmp_path / "store" / "repositories" / "team" / f"app{number:02}"
        folder.mkdir(parents=True)
        (folder / "tag_latest").write_text("0" * 64)
        if number % 4:
            (folder / "_private").touch()
        else:
            shown.append(f"team/app{number:02}")
    environ = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(tmp_path / "store")}
    client = create_app(load_config(environ=environ)).test_client()
    found: list[str] = []
    path, pages = f"/v2/_catalog?n={size}", 0
    while path:
        answer = client.get(path, headers={"User-Agent": "skopeo/1"})
        assert len(answer.json["repositories"]) <= size
        found += answer.json["repositories"]
        path = answer.headers.get("Link", "").removeprefix("<").partition(">")[0]
        pages += 1
    assert found == shown
    assert pages >= 12 // read
