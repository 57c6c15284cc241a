"""The package: the wheel, the command, and the pins of dependencies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests import raw
from tests.live_server import ROOT, Server
from v1registry import __version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as built by `make wheel`."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("v1registry-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `bin` of a new environment with the wheel.

    Its dependencies come from the environment of the tests, so nothing is downloaded.
    """
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-index"]
    environ = {"PATH": os.environ["PATH"], "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, env=environ)
    [packages] = folder.glob("lib/python3*/site-packages")
    (packages / "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin"


def run(command: Path, *arguments: str, folder: Path, **environ: str) -> str:
    """Return the output of the command, run in `folder`."""
    base = {"PATH": os.environ["PATH"], "HOME": str(folder), **environ}
    return subprocess.run(
        [command, *arguments], cwd=folder, env=base, check=True, capture_output=True, text=True
    ).stdout


def test_the_wheel_contains_what_a_server_needs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("config.yml", "gunicorn.conf.py", "wsgi.py"):
        assert f"v1registry/_project/{name}" in names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "v1registry").rglob("*.py")}
    assert modules <= names
    assert not any(name.startswith(("tests/", "bench/")) for name in names)


def test_the_command_of_the_wheel(installed, tmp_path):
    assert __version__ in run(installed / "v1registry", "--version", folder=tmp_path)
    shown = run(
        installed / "v1registry",
        "config",
        folder=tmp_path,
        SETTINGS_FLAVOR="local",
        STORAGE_PATH=str(tmp_path / "store"),
    )
    file = re.match(r"# flavor local of (\S+)\n", shown)
    assert file is not None
    assert Path(file[1]).is_relative_to(installed.parent)  # not the file of the checkout


def test_the_wheel_serves_in_an_empty_folder(installed, tmp_path):
    command, empty = [str(installed / "v1registry")], tmp_path / "empty"
    empty.mkdir()
    with Server(tmp_path / "store", command=command, folder=empty) as server:
        assert raw.get(server, "/v1/_ping").status == 200
        script = [sys.executable, str(ROOT / "scripts" / "push_pull.py"), server.url]
        subprocess.run(script, check=True, capture_output=True)
    assert (tmp_path / "store" / "repositories").is_dir()


def test_shell_completion(installed, tmp_path):
    words = {"COMP_WORDS": "v1registry ex", "COMP_CWORD": "1"}
    found = run(
        installed / "v1registry",
        folder=tmp_path,
        _V1REGISTRY_COMPLETE="bash_complete",
        **words,
    )
    assert found == "plain,export\n"


FILES = sorted([*ROOT.glob("requirements*.txt"), *ROOT.glob("tests/backends/requirements-*.txt")])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_pin_has_hashes_and_a_reason(file):
    lines = file.read_text().splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith(("#", "-r ", "    --hash=sha256:")):
            assert re.fullmatch(r"[\w.-]+(\[\w+\])?==\S+( ?;.*)? \\", line), line
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", lines[number + 1])
            if file.parent == ROOT:
                assert lines[number - 1].startswith("# "), f"{line}: say above it what it is for"
