"""The order of imports (docs/architecture.md#rule-1-imports-go-down), cycles, and what an import loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "v1registry"

#: The packages of `lib`, the lowest first. A module imports only from packages before its own.
LIB = (
    "lib",
    "lib/support",
    "lib/layers",
    "lib/auth",
    "lib/images",
    "lib/repositories",
    "lib/oci",
    "lib/maintenance",
)
#: The drivers of `storage`. The GCS driver uses the S3 driver to sign with HMAC keys.
DRIVERS = {
    "storage/local": {"storage"},
    "storage/s3": {"storage"},
    "storage/gcs": {"storage", "storage/s3"},
    "storage/swift": {"storage"},
    "storage/glance": {"storage"},
}
#: package or module -> the other packages that it may import from
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
    "api": {*LIB, "storage", "config", "server", "index"},
    "web": {*LIB, "config", "api"},
    "wiring": {
        *LIB,
        *("storage", "storage/glance", "config", "cache", "index", "auth", "server", "api"),
    },
    "app": {"storage", "config", "api", "web", "wiring"},
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
    "web": {"gevent", "gunicorn", "yaml", "click", "redis", "sqlalchemy", *_CLIENTS},
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
    """Return the package of a dotted module name: `lib/images`, `api`. A top-level module is its own package."""
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


def test_endpoints_know_no_storage_keys() -> None:
    """Where an image lies in the store is the domain's business: the package `lib`."""
    for path in (ROOT / "api").rglob("*.py"):
        assert not [name for name in imports(path) if name.startswith("v1registry.storage.keys")], (
            path
        )


def test_packages_have_no_cycle() -> None:
    """Each round removes the packages that import no remaining package; a cycle would remain."""
    left = {name: set(below) for name, below in ALLOWED.items()}
    while left:
        lowest = [name for name, below in left.items() if not below & set(left) - {name}]
        assert lowest, f"a cycle among {', '.join(left)}"
        for name in lowest:
            del left[name]


def test_no_mmap_is_searched() -> None:
    """On Python 3.11.2, `find` and `rfind` of an mmap read past its end: the process crashes.

    So an mmap is private to its module, which calls neither. Other modules get a memoryview.
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
    assert len(path.read_text().splitlines()) <= 300


def test_importing_does_nothing() -> None:
    """An import starts no thread and makes no connection, and commands do not load gevent."""
    run(
        "import sys, threading, v1registry.app, v1registry.commands.cli\n"
        "assert threading.active_count() == 1\n"
        "assert 'gevent' not in sys.modules, 'commands load gevent'\n"
    )


def test_the_application_needs_no_gunicorn() -> None:
    """Neither its import nor a request body loads gunicorn, so any WSGI server can run it."""
    run(
        "import io, sys, v1registry.app\n"
        "from v1registry.server.receive import pieces\n"
        "environ = {'wsgi.input': io.BytesIO(b'body'), 'CONTENT_LENGTH': '4'}\n"
        "assert b''.join(pieces(environ, None)) == b'body'\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'gunicorn', 'gevent'}, loaded\n"
    )


def run(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT.parent)
