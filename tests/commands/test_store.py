"""The store of a command, and the user as which it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_unmounted import DONE, push
from tests.live_server import Server
from tests.needs import needs, tool
from v1registry.config.load import PROJECT

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
OWNER = 1000
COMMANDS = {
    "backfill": (),
    "clean": ("--older-than", "0"),
    "export": ("{out}/layout",),
    "import": ("{out}/images.tar", "--map", "libtest/=others/"),
    "migrate": ("--to", "http://127.0.0.1:1", "--dry-run", "--no-journal"),
    "index rebuild": (),
    "index user add": ("root", "--password-stdin"),
}
AS_OWNER = {"GUNICORN_USER": str(OWNER), "GUNICORN_GROUP": str(OWNER)}


def run(
    command: str, store: Path | None, folder: Path, *wrap: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of COMMANDS, with its files in `folder`."""
    arguments = [text.format(out=folder) for text in COMMANDS[command]]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "SETTINGS_FLAVOR": "local"}
    if store is not None:
        environ["STORAGE_PATH"] = str(store)
    if command.startswith("index"):
        environ["INDEX_DATABASE"] = f"sqlite:///{folder}/index.db"
    return subprocess.run(
        [*wrap, sys.executable, "-m", "v1registry", *command.split(), *arguments],
        env=environ,
        cwd=folder,
        input="secret secret\n",
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder of another user, with a store and an archive to import."""
    with tempfile.TemporaryDirectory() as name:  # other users cannot open pytest's folders
        yield made(Path(name))


def made(folder: Path) -> Path:
    shutil.copytree(GOLDEN / "store-0.9.1", folder / "store")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "v1registry",
            "export",
            "--tags",
            "latest",
            "--format",
            "docker",
            folder / "images.tar",
        ],
        env={
            "PATH": os.environ["PATH"],
            "SETTINGS_FLAVOR": "local",
            "STORAGE_PATH": str(folder / "store"),
        },
        cwd=PROJECT,
        capture_output=True,
    )
    assert (folder / "images.tar").exists(), done.stderr
    for path in (folder, *folder.rglob("*")):
        os.chown(path, OWNER, OWNER)
    return folder


def foreign(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if path.lstat().st_uid != OWNER]


@needs("root")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_root_leaves_nothing_of_root(folder: Path, command: str) -> None:
    before = sorted(folder.rglob("*"))
    done = run(command, folder / "store", folder)
    assert done.returncode in (0, 3) or command == "migrate", done.stderr
    assert f"v1registry: working as user {OWNER}, the owner of {folder}" in done.stderr
    assert foreign(folder) == []
    assert sorted(folder.rglob("*")) != before or command in ("clean", "migrate")
    with Server(folder / "store", env=AS_OWNER) as server:
        assert push(server, "a") == DONE


@needs("root")
@pytest.mark.parametrize("path", ["images.tar", "layout"])
def test_an_export_of_root_says_who_may_not_write(folder: Path, tmp_path: Path, path: str) -> None:
    of_root = tmp_path / "of root"
    of_root.mkdir(mode=0o755)
    done = subprocess.run(
        [sys.executable, "-m", "v1registry", "export", of_root / path],
        env={**os.environ, "SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(folder / "store")},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"v1registry: {of_root / path}: Permission denied for user {OWNER}:"
        " name a path in a folder that this user may write"
    )


@needs("root")
def test_the_owner_of_the_store(folder: Path) -> None:
    """Root may own a mount point. Files of root from an older version are an error."""
    os.chown(folder / "store", 0, 0)
    done = run("clean", folder / "store", folder)
    assert f"working as user {OWNER}, the owner of {folder}/store/_v1registry" in done.stderr
    os.chown(folder / "store", OWNER, OWNER)
    for path in (folder / "store/_v1registry", *(folder / "store/_v1registry").iterdir()):
        os.chown(path, 0, 0)
        path.chmod(0o755 if path.is_dir() else 0o600)
    done = run("backfill", folder / "store", folder)
    assert f"working as user {OWNER}, the owner of {folder}/store\n" in done.stderr
    assert done.returncode == 1
    assert f"run: chown -R {OWNER}:{OWNER} {folder}/store" in done.stderr


@needs("root")
@pytest.mark.parametrize("command", ["backfill", "index user add"])
def test_root_without_the_right_to_change_user_gets_a_command_to_run(
    folder: Path, command: str
) -> None:
    before = sorted(folder.rglob("*"))
    done = run(command, folder / "store", folder, tool("setpriv"), "--bounding-set=-setuid,-setgid")
    assert done.returncode == 1
    assert f"Run: sudo -u '#{OWNER}' v1registry {command}" in done.stderr
    assert sorted(folder.rglob("*")) == before


@needs("root")
def test_a_server_of_root_warns(folder: Path) -> None:
    with Server(folder / "store") as server:
        assert f"Set GUNICORN_USER={OWNER} GUNICORN_GROUP={OWNER}" in server.log
    shutil.rmtree(folder / "store/_v1registry")
    with Server(folder / "store", env=AS_OWNER) as server:
        assert "running as root" not in server.log
        assert foreign(folder) == []


def test_import_says_that_it_begins_a_store(tmp_path: Path, folder: Path) -> None:
    done = run("import", tmp_path / "store", folder)
    assert done.returncode == 0
    assert f"v1registry: store: {tmp_path}/store (flavor local)\n" in done.stderr
    assert "v1registry: a new store is begun there\n" in done.stderr
    assert (tmp_path / "store/_v1registry/store").exists()


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"import", "index user add"}))
@pytest.mark.parametrize("exists", [False, True], ids=["no folder", "an empty folder"])
def test_a_missing_store_is_an_error(tmp_path: Path, command: str, exists: bool) -> None:
    store = tmp_path / "nowhere"
    if exists:
        store.mkdir()
    (tmp_path / "images.tar").write_bytes(b"")
    done = run(command, store, tmp_path)
    assert done.returncode == 1
    assert f"v1registry: there is no store in {store}: correct the configuration" in done.stderr
    assert store.exists() == exists
    assert not exists or list(store.iterdir()) == []


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """Return a folder in which `v1registry serve` ran without a configured store."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("STORAGE_", "SETTINGS_"))}
    environ |= {"PYTHONPATH": str(PROJECT), "REGISTRY_HOST": f"unix:{tmp_path}/socket"}
    server = subprocess.Popen(
        [sys.executable, "-m", "v1registry", "serve"],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    with server, server.stderr as log:
        for line in log:
            if "Booting worker" in line:
                break
        server.terminate()
        log.read()
    return tmp_path


def test_every_way_to_start_has_the_same_store(served: Path) -> None:
    assert (served / "data/_v1registry/store").exists()
    for command in ("backfill", "clean"):
        done = run(command, None, served)
        assert f"v1registry: store: {served}/data (flavor local)\n" in done.stderr
        assert done.returncode == 0, done.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "v1registry", "config"],
        cwd=served,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert f"# store: {served}/data (flavor dev)\n" in shown.stdout
    assert "storage_path: ./data" in shown.stdout
