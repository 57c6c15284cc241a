"""Imports go down only: docs/architecture.md#rule-1-imports-go-down; and none at the wrong price."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "v1registry"

# room -> the rooms it may import from, itself aside
ALLOWED = {
    "storage": set(),
    "lib": {"storage"},
    "config": {"storage"},  # only to find drivers of other packages
    "cache": {"lib", "config"},
    "index": {"lib"},
    "access": {"lib", "config"},
    "edge": {"lib", "storage", "config"},
    "api": {"lib", "storage", "config", "edge"},
    "transfer": {"lib", "storage"},
    "commands": {"lib", "storage", "config", "api", "transfer", ""},
    "": {"lib", "storage", "config", "cache", "index", "access", "edge", "api", "commands", ""},
}
_FRAMES = ("flask", "werkzeug", "gevent", "gunicorn")
_CLIENTS = ("ldap3", "urllib3")
FOREIGN = {
    "storage": {*_FRAMES, "yaml", "click", "redis", "sqlalchemy", "ldap3"},
    "lib": {*_FRAMES, "yaml", "click", "redis", "sqlalchemy", *_CLIENTS},
    "config": {*_FRAMES, "click", "redis", "sqlalchemy"},
    "cache": {*_FRAMES, "yaml", "click", "sqlalchemy"},
    "index": {*_FRAMES, "yaml", "click", "redis"},
    "transfer": {*_FRAMES, "yaml", "click", "redis"},
    "access": {*_FRAMES, "yaml", "click", "redis", "sqlalchemy"},
    "edge": {"redis", "sqlalchemy", *_CLIENTS},
    "api": {"gevent", "gunicorn", "yaml", "click", "redis", "sqlalchemy", *_CLIENTS},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (ROOT / parts[1]).is_dir() else ""


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0] if path.parent != ROOT else ""
    for module in imports(path):
        if module.startswith("v1registry."):
            assert room(module) in ALLOWED[own] | {own}, f"{module} from {own or 'the top'}"
        assert module.split(".")[0] not in FOREIGN.get(own, set()), f"{module} in {own}"


def test_bodies_are_read_in_one_module() -> None:
    """So each is bounded in size and time."""
    for path in (ROOT / "api").rglob("*.py"):
        reads = "v1registry.edge.receive" in imports(path) or "wsgi.input" in path.read_text()
        assert reads == (path == ROOT / "api" / "body.py"), path


def test_no_mmap_is_searched() -> None:
    """On Python 3.11.2, `find` and `rfind` of an mmap read past its end: the process crashes.

    So an mmap stays private to its module, which calls neither; other modules get a memoryview.
    """
    for path in ROOT.rglob("*.py"):
        if not any(module.split(".")[0] == "mmap" for module in imports(path)):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("find", "rfind"), f"{path}:{node.lineno}"
            if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("mmap."):
                names = [ast.unparse(target).rpartition(".")[2] for target in node.targets]
                assert all(name.startswith("_") for name in names), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_are_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350


def test_importing_does_nothing() -> None:
    """No state at import: no thread, no file, no connection, and no gevent for the command line."""
    code = (
        "import sys, threading, v1registry.app, v1registry.cli\n"
        "assert threading.active_count() == 1\n"
        "assert 'gevent' not in sys.modules, 'the command line pays for gevent'\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT.parent)
