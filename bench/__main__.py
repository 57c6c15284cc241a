"""`python -m bench`: measure this registry and the installed peers.

    python -m bench                  all rows, half an hour
    python -m bench --quick          most rows, once or a few times each, some minutes
    python -m bench --only push-50   one row; may be given several times
    python -m bench --only 's3-*'    rows by a pattern
    python -m bench --without 's3-*' --without 'swift-*'    the rows on local files, ten minutes

All servers run with their default configuration, on the loopback interface and on one disk. The runs
of a row are interleaved (ours, peer, ours, peer ...), and the medians are compared. Exit code 1 means
that our server gave a wrong answer. No speed is an error.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import floor, indexed, remote, report, servers
from bench.material import Material
from bench.rows import NGINX_ONE, ONE, ROWS, STORED, Row
from bench.runs import SIZES, VIEW, Load, Loads, measure
from bench.servers import Site, Unavailable
from bench.stores import Files

_MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")


def main() -> int:
    """Run the rows of the command line and print the report."""
    options = _arguments()
    chosen = [row for row in (*ROWS, *STORED) if _is_chosen(row.name, options)]
    skipped: list[str] = []
    if options.quick:
        skipped += [f"{row.title}: not with --quick" for row in chosen if not row.quick]
        chosen = [row for row in chosen if row.quick]
    if not chosen:
        sys.exit("bench: no row has such a name")
    print(f"{report.machine()}\n", flush=True)
    # On SIGTERM, stop the servers and delete the data.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended by SIGTERM"))
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="v1registry-bench-", dir=_disk(options.folder))
        )
        running = _start(stack, Path(name), chosen, skipped)
        material = Material(Path(name))
        loads = Loads(material, 0.4 if options.quick else 2.0)
        for server in running.values():
            if server.speaks in ("v1", "v2"):
                loads.seed(server)
        for server in running.values():
            if server.speaks not in ("v1", "v2"):
                loads.check(server)  # it serves the store of our server
        for server in running.values():
            server.rest()
        floors = [floor.measure(material.file(SIZES[0]))]
        for row in [row for row in chosen if row.own not in running]:
            skipped.append(f"{row.title}: {row.own} is not there")
            chosen.remove(row)
        results = {row.name: _rounds(row, loads, running, options.quick) for row in chosen}
        floors.append(floor.measure(material.file(SIZES[0])))
    _print(chosen, results, skipped)
    print("A bare loop that receives, hashes and writes a layer used", end=" ")
    print(f"{floors[0]:.2f} CPU s/GB before and {floors[1]:.2f} after this.")
    print(f"\n{time.monotonic() - began:.0f} s in all, load after {os.getloadavg()[0]:.1f}")
    if options.quick:
        print("--quick is too short for a verdict, above all on a busy machine.")
    return 1 if report.failures(results) else 0


def _is_chosen(name: str, options: argparse.Namespace) -> bool:
    def among(patterns: list[str]) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

    return (not options.only or among(options.only)) and not among(options.without or [])


def _start(
    stack: contextlib.ExitStack, folder: Path, chosen: list[Row], skipped: list[str]
) -> dict[str, Site]:
    """Return the servers that the rows need, by name; only the installed ones of the peers."""
    backends = remote.Backends(stack, folder)
    files = Files(folder / "store")
    makers: dict[str, Callable[[], Site]] = {
        "ours": lambda: servers.ours(files),
        ONE: lambda: servers.ours(files, ONE, workers=1),
        "go": lambda: servers.go(folder),
        "nginx": lambda: servers.nginx(files),
        NGINX_ONE: lambda: servers.nginx(files, NGINX_ONE, workers=1),
        **remote.makers(backends),
        **indexed.makers(backends),
    }
    needed = {name for row in chosen for name in (row.own, *row.peers)}
    if needed & {"nginx", NGINX_ONE, VIEW}:
        needed.add("ours")  # it fills the folder of the others, or is measured
    running: dict[str, Site] = {}
    for name, make in makers.items():
        if name not in needed:
            continue
        try:
            running[name] = make()
        except Unavailable as reason:
            if name in ("ours", ONE):
                raise
            skipped.append(f"{name}: {reason}")
        else:
            stack.callback(running[name].stop)
    if VIEW in needed:
        running[VIEW] = servers.asked_by_v2(running["ours"], VIEW)
    return running


def _rounds(
    row: Row, loads: Loads, running: dict[str, Site], quick: bool
) -> dict[str, list[report.Figures]]:
    """Run one row with all servers, interleaved."""
    taking_part = [running[name] for name in (row.own, *row.peers) if name in running]
    found: dict[str, list[report.Figures]] = {server.name: [] for server in taking_part}
    for number in range(row.quick if quick else row.rounds):
        for server in taking_part:
            with _progress(f"{row.name} {number + 1}: {server.name}"):
                load: Load = row.load(loads, server)
                found[server.name].append(measure(server, load))
    return found


def _print(chosen: list[Row], results: report.Results, skipped: list[str]) -> None:
    print("Ratios of the medians: above 1.00 is better for us in every column.\n")
    print(report.ratios(chosen, results))
    print("\n" + report.expectations(chosen, results))
    print("\nRaw figures: medians; PSS is the highest of all runs and processes; gen is what the")
    print("load generator used of one core; CPU is that of all the server's processes.\n")
    print(report.raw(chosen, results))
    for text in report.messages(results):
        print(f"error: {text}")
    for text in skipped:
        print(f"skipped: {text}")
    print("\n" + _versions())


def _versions() -> str:
    """Return the names and versions of the peers."""
    found = []
    for command in (["docker-registry", "--version"], ["/usr/sbin/nginx", "-v"]):
        with contextlib.suppress(OSError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
            found.append((done.stdout + done.stderr).strip())
    return "; ".join(found)


@contextlib.contextmanager
def _progress(text: str) -> Iterator[None]:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    yield
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _disk(given: str | None) -> str:
    """Return a folder on a real disk: memory would favour the server that writes most."""
    for folder in [given] if given else [tempfile.gettempdir(), "/var/tmp", "."]:
        if _file_system(folder) not in _MEMORY_FILE_SYSTEMS:
            return folder
    sys.exit("bench: no folder on a disk was found: give one with --folder")


def _file_system(folder: str) -> str:
    """Return the type of the file system of `folder`."""
    path = Path(folder).resolve()
    best = ("", "")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        point, kind = line.split()[1:3]
        if path.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    names = ", ".join(row.name for row in (*ROWS, *STORED))
    parser.add_argument("--only", action="append", metavar="ROW", help=names)
    parser.add_argument("--without", action="append", metavar="ROW", help="rows to skip")
    parser.add_argument("--folder", help="folder for the data (default: the temporary folder)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
