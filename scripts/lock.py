"""Write the hashes of all pinned packages into requirements*.txt, or list outdated pins.

    make lock                                        # after a pin was changed: write the hashes anew
    .venv-audit/bin/python scripts/lock.py --current # exit status 3 and a list if newer releases exist

With hashes in the file, pip installs only the archives that were there when the pin was made. The
comment above a pin says why the package is needed and stays. Needs `uv` (requirements-audit.txt).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PIN = re.compile(r"^([A-Za-z0-9._-]+(?:\[[a-z,]+\])?)==([^\s;\\]+)(\s*;[^#\\]*)?")
_UV = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]


def pins(file: Path) -> dict[str, str]:
    """Return the pins of a file: normalized name -> version."""
    found = (_PIN.match(line) for line in file.read_text().splitlines())
    return {_normal(match[1]): match[2] for match in found if match}


def compiled(lines: list[str], *options: str) -> str:
    """Return the requirements as resolved by uv, which queries the package index."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as given:
        given.write("\n".join(lines) + "\n")
        given.flush()
        command = [*_UV, "--python-version", "3.11", *options, given.name]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def locked(text: str, hashes: dict[str, list[str]]) -> str:
    """Return the text of a requirements file with the hashes below each pin, and its comment above."""
    lines = []
    for line in text.splitlines():
        match = _PIN.match(line)
        if line.lstrip().startswith("--hash"):
            continue
        if match is None:
            lines.append(line)
            continue
        if "#" in line:
            lines.append(f"# {line.partition('#')[2].strip()}")
        wanted = [f"    --hash={value}" for value in hashes[_normal(match[1])]]
        lines.append(" \\\n".join([match[0].strip(), *wanted]))
    return "\n".join(lines) + "\n"


def lock(file: Path) -> None:
    text = file.read_text()
    wanted = [match[0] for line in text.splitlines() if (match := _PIN.match(line))]
    if not wanted:
        return
    hashes: dict[str, list[str]] = {}
    for line in compiled(wanted, "--no-deps", "--generate-hashes").splitlines():
        if match := _PIN.match(line):
            name = _normal(match[1])
        elif found := re.search(r"--hash=(\S+)", line):
            hashes.setdefault(name, []).append(found[1])
    new = locked(text, hashes)
    if new != text:
        file.write_text(new)
        print(f"{file.name}: {len(hashes)} packages")


def newer(files: list[Path]) -> list[str]:
    """Return a line for each pin with a newer release that the other packages allow."""
    pinned = {name: version for file in files for name, version in pins(file).items()}
    output = compiled(sorted(pinned), "--upgrade")
    latest = {
        _normal(match[1]): match[2] for line in output.splitlines() if (match := _PIN.match(line))
    }
    return [
        f"{name} {version}: {latest[name]} is out"
        for name, version in sorted(pinned.items())
        if latest.get(name, version) != version
    ]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


if __name__ == "__main__":
    every = sorted(
        [*ROOT.glob("requirements*.txt"), *ROOT.glob("tests/backends/requirements-*.txt")]
    )
    if sys.argv[1:] == ["--current"]:
        found = newer([file for file in every if file.parent == ROOT])
        print("\n".join(found) or "Every pin is the newest release that the other packages allow")
        sys.exit(3 if found else 0)
    for one in every:
        lock(one)
