"""The report: the table of ratios, the expected figures, the raw figures, and missing peers."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.rows import BOUNDED, MOST_MEMORY, Row
from bench.runs import Figures

Results = dict[str, dict[str, list[Figures]]]
"""Name of the row -> name of the server -> its runs, in order."""


def machine() -> str:
    """Return the machine and the time of the measurement."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {cores} cores ({model}), Linux {platform.release()},"
        f" Python {platform.python_version()} of {sys.base_prefix}, load before {load:.1f}"
    )


def ratios(rows: list[Row], results: Results) -> str:
    """Return one line per row and peer. In every column, more than 1 means that our server is better."""
    lines = [["row", "against", "speed", "CPU", "memory", "errors ours", "peer's"]]
    for row in rows:
        mine = results[row.name].get(row.own)
        for peer in row.peers:
            theirs = results[row.name].get(peer)
            if not mine or not theirs:
                continue
            lines.append(
                [
                    row.title,
                    peer,
                    f"{_median(mine, speed) / _median(theirs, speed):.2f}",
                    _ratio(cost(theirs, row), cost(mine, row)),
                    _ratio(max(f.mb for f in theirs), max(f.mb for f in mine)),
                    str(sum(f.errors for f in mine)),
                    str(sum(f.errors for f in theirs)),
                ]
            )
    return table(lines, left=2)


def raw(rows: list[Row], results: Results) -> str:
    """Return the figures of every server: medians with minimum and maximum."""
    lines = [
        [
            "row",
            "server",
            "runs",
            "seconds",
            "low",
            "high",
            "rate",
            "",
            "CPU",
            "",
            "PSS MB",
            "gen",
            "errors",
        ]
    ]
    for row in rows:
        for name, runs in results[row.name].items():
            seconds = [f.seconds for f in runs]
            rate = _median(runs, speed)
            small = row.unit == "request"
            cpu = cost(runs, row)
            lines.append(
                [
                    row.name,
                    name,
                    str(len(runs)),
                    f"{statistics.median(seconds):.2f}",
                    f"{min(seconds):.2f}",
                    f"{max(seconds):.2f}",
                    f"{rate:.0f}" if small else f"{rate / 1e6:.0f}",
                    "/s" if small else "MB/s",
                    f"{cpu * 1e6:.0f}" if small else f"{cpu:.2f}",
                    "µs each" if small else "s/GB",
                    f"{max(f.mb for f in runs):.0f}",
                    f"{_median(runs, lambda f: f.generator / f.seconds):.2f}",
                    str(sum(f.errors for f in runs)),
                ]
            )
    return table(lines, left=2)


def expectations(rows: list[Row], results: Results) -> str:
    """Return the expected figures of our server, the measured ones, and whether they suffice."""
    lines = [["expected", "found", ""]]
    for row in rows:
        mine = results[row.name].get(row.own)
        if not mine:
            continue
        theirs = results[row.name].get(row.peers[0])
        if row.faster and theirs:
            found = _median(mine, speed) / _median(theirs, speed)
            text = f"{row.title}: {row.faster:g} times the speed of {row.peers[0]}"
            lines.append([text, f"{found:.2f}", _verdict(found >= row.faster)])
        if row.cpu:
            found = cost(mine, row)
            text = f"{row.title}: at most {row.cpu:g} CPU s/GB"
            lines.append([text, f"{found:.2f}", _verdict(found <= row.cpu)])
    for server in BOUNDED:
        if own := [f for name in results for f in results[name].get(server, [])]:
            found = max(f.mb for f in own)
            text = f"all rows of {server}: under {MOST_MEMORY:g} MB"
            lines.append([text, f"{found:.0f}", _verdict(found < MOST_MEMORY)])
    if any(results.values()):
        wrong = failures(results)
        lines.append(["all rows: no error of ours", str(wrong), _verdict(not wrong)])
    return table(lines, left=1)


def failures(results: Results) -> int:
    """Return the number of errors of our servers, with any number of workers."""
    return sum(
        figures.errors
        for servers in results.values()
        for name, runs in servers.items()
        if name.startswith("ours")
        for figures in runs
    )


def messages(results: Results) -> list[str]:
    """Return the texts of the errors."""
    found: dict[str, int] = {}
    for row, servers in results.items():
        for name, runs in servers.items():
            for figures in runs:
                for text, count in figures.messages.items():
                    found[f"{row}, {name}: {text}"] = found.get(f"{row}, {name}: {text}", 0) + count
    return [f"{text} ({count} times)" for text, count in found.items()]


def speed(figures: Figures) -> float:
    """Return bytes per second, or answers per second if no layer was transferred."""
    return (figures.bytes or figures.answers) / figures.seconds


def cost(runs: list[Figures], row: Row) -> float:
    """Return the median of the server's CPU seconds per GB (10^9 bytes), or per request."""

    def one(figures: Figures) -> float:
        amount = figures.answers if row.unit == "request" else figures.bytes / 1e9
        return figures.cpu / amount if amount else 0.0

    return _median(runs, one)


def table(lines: list[list[str]], left: int) -> str:
    """Return aligned columns: the first `left` columns to the left, numbers to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]

    def cell(text: str, index: int) -> str:
        return text.ljust(widths[index]) if index < left else text.rjust(widths[index])

    return "\n".join(
        "  ".join(cell(text, i) for i, text in enumerate(line)).rstrip() for line in lines
    )


def _median(runs: list[Figures], what: Callable[[Figures], float]) -> float:
    return statistics.median(what(figures) for figures in runs)


def _ratio(theirs: float, mine: float) -> str:
    return f"{theirs / mine:.2f}" if mine else "-"


def _verdict(good: bool) -> str:
    return "yes" if good else "NO"
