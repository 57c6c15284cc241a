"""Imports go down only (docs/architecture.md#rule-1-imports-go-down), without cycles; and none at the wrong price."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "v1registry"

#: The packages of `lib`, the lowest first: a module imports only from packages before its own.
LIB = ("lib", "lib/support", "lib/layers", "lib/auth", "lib/images", "lib/repositories", "lib/oci")
#: The drivers of `storage`. The driver for GCS uses that for S3 where it signs with HMAC keys.
DRIVERS = {
    "storage/local": {"storage"},
    "storage/s3": {"storage"},
    "storage/gcs": {"storage", "storage/s3"},
    "storage/swift": {"storage"},
    "storage/glance": {"storage"},
}
#: package or module -> the packages that it may import from, itself aside
ALLOWED: dict[str, set[str]] = {
    "storage": set(),
    **DRIVERS,
    **{package: {"storage", *LIB[:place]} for place, package in enumerate(LIB)},
    "config": {"storage"},  # only to find drivers of other packages
    "cache": {*LIB, "config"},
    "index": {*LIB},
    "auth": {*LIB, "config"},
    "server": {*LIB, "storage", "config"},
    "transfer": {*LIB, "storage"},
    "api": {*LIB, "storage", "config", "server"},
    "wiring": {
        *LIB,
        *("storage", "storage/glance", "config", "cache", "index", "auth", "server", "api"),
    },
    "app": {"storage", "config", "api", "wiring"},
    "commands": {*LIB, "storage", "config", "server", "api", "transfer", "wiring", ""},
    "__main__": {"commands"},
    "": set(),
}
_FRAMES = ("flask", "werkzeug", "gevent", "gunicorn")
_CLIENTS = ("ldap3", "urllib3")
#: package -> libraries that it must not import
FOREIGN = {
    "storage": {*_FRAMES, "yaml", "click", "redis", "sqlalchemy", "ldap3"},
    "lib": {*_FRAMES, "yaml", "click", "redis", "sqlalchemy", *_CLIENTS},
    "config": {*_FRAMES, "click", "redis", "sqlalchemy"},
    "cache": {*_FRAMES, "yaml", "click", "sqlalchemy"},
    "index": {*_FRAMES, "yaml", "click", "redis"},
    "transfer": {*_FRAMES, "yaml", "click", "redis"},
    "auth": {*_FRAMES, "yaml", "click", "redis", "sqlalchemy"},
    "server": {"redis", "sqlalchemy", *_CLIENTS},
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


def package(module: str) -> str:
    """The package of a module's dotted name: `lib/images`, `api`; a module at the top is its own."""
    parts = module.split(".")[1:]
    if not parts:
        return ""
    if not (ROOT / parts[0]).is_dir():
        return parts[0] if (ROOT / f"{parts[0]}.py").exists() else ""
    nested = (
        parts[0] in ("lib", "storage") and len(parts) > 1 and (ROOT / parts[0] / parts[1]).is_dir()
    )
    return "/".join(parts[:2]) if nested else parts[0]


def module_of(path: Path) -> str:
    return ".".join(("v1registry", *path.relative_to(ROOT).with_suffix("").parts))


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    own = package(module_of(path))
    for module in imports(path):
        if module.startswith("v1registry."):
            assert package(module) in ALLOWED[own] | {own}, f"{module} from {own or 'the top'}"
        foreign = FOREIGN.get(own.partition("/")[0], set())
        assert module.split(".")[0] not in foreign, f"{module} in {own}"


def test_packages_have_no_cycle() -> None:
    """The table of allowed imports is an order: each round removes what imports nothing above it."""
    left = {name: set(below) for name, below in ALLOWED.items()}
    while left:
        lowest = [name for name, below in left.items() if not below & set(left) - {name}]
        assert lowest, f"a cycle among {', '.join(left)}"
        for name in lowest:
            del left[name]


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
        "import sys, threading, v1registry.app, v1registry.commands.cli\n"
        "assert threading.active_count() == 1\n"
        "assert 'gevent' not in sys.modules, 'the command line pays for gevent'\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT.parent)
