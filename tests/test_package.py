"""The package: the wheel, the command, and the pins of dependencies."""

from __future__ import annotations

import os
import re
import shutil
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
    pages = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "v1registry" / "web").rglob("*")
        if path.suffix in (".html", ".css", ".js", ".svg", ".mo")
    }
    assert pages
    assert pages <= names
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
        assert b"</html>" in raw.get(server, "/ui/").body
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


# -- the container image ----------------------------------------------------------------------------


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """A folder for PATH with docker without a daemon, and podman, which print their arguments."""
    for name, status in (("docker", 1), ("podman", 0)):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*"\nexit {status}\n')
        (tmp_path / name).chmod(0o755)
    return tmp_path


def make_image(engines: Path, *arguments: str) -> list[str]:
    """Return the lines that `make image` and the engine print."""
    make = ["make", "--no-print-directory", "image", *arguments]
    path = f"{engines}:{os.environ['PATH']}"
    return run(Path("/usr/bin/env"), *make, folder=ROOT, PATH=path).splitlines()


def test_make_image_uses_an_engine_that_can_build(engines: Path) -> None:
    assert make_image(engines) == ["podman build -t v1registry ."]
    (engines / "docker").write_text('#!/bin/sh\necho "docker $*"\n')
    assert make_image(engines, "IMAGE=registry:1") == ["docker build -t registry:1 ."]


def test_without_an_engine_make_image_says_what_to_install(engines: Path) -> None:
    (engines / "podman").unlink()
    tools = engines / "tools"
    tools.mkdir()
    for name in ("make", "bash"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    make = [str(tools / "make"), "SHELL=" + str(tools / "bash"), "image"]
    done = subprocess.run(
        make, cwd=ROOT, env={"PATH": f"{engines}:{tools}"}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "neither podman nor a docker daemon was found: install one of them" in done.stderr


def test_the_base_image_can_be_pinned_by_its_digest(engines: Path) -> None:
    """As docs/install.md says it: by `make image`, or by the same build argument."""
    page = (ROOT / "docs" / "install.md").read_text()
    [base] = re.findall(r"^make image BASE=(\S+)$", page, re.MULTILINE)
    assert f"docker build --build-arg BASE={base} -t v1registry ." in page
    pinned = base.replace("DIGEST", "a" * 64)
    [line] = make_image(engines, f"BASE={pinned}")
    assert line == f"podman build --build-arg BASE={pinned} -t v1registry ."
    text = (ROOT / "Dockerfile").read_text()
    [default] = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert pinned == f"{default}@sha256:{'a' * 64}"
    assert text.index("ARG BASE=") < text.index("FROM ")  # so that each FROM sees it
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases == ["${BASE}"] * 2


# -- pins -------------------------------------------------------------------------------------------

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
