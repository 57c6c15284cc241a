"""The rows of the table: the load, the servers, the number of runs, and the expected figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.material import MIB
from bench.runs import VIEW, Load, Loads
from bench.servers import Site

ONE = "ours-1"
NGINX_ONE = "nginx-1"
INDEXED, INDEXED_POSTGRES = "ours-index", "ours-index-pg"


@dataclass(frozen=True)
class Row:
    """One row. `load(loads, server)` creates the load of each run.

    `rounds` is the number of runs per server, `quick` that with --quick (0: none). `faster` is the
    expected ratio of our speed to that of the first peer, `cpu` the maximum of CPU seconds per GB.
    """

    name: str
    title: str
    load: Callable[[Loads, Site], Load]
    peers: tuple[str, ...]
    rounds: int = 3
    quick: int = 1
    own: str = "ours"
    faster: float | None = None
    cpu: float | None = None
    unit: str = "GB"


def _pull(
    name: str, clients: int, size: int, rounds: int, quick: int = 1, *, times: int = 1
) -> Row:
    def load(loads: Loads, server: Site) -> Load:
        return loads.pull(server, size * MIB, clients, times=times)

    title = f"pull {clients:,} x {size} MiB{_often(times)}"
    return Row(name, title, load, ("go", "nginx"), rounds, quick)


def _pull_one(name: str, clients: int, size: int, rounds: int, *, times: int) -> Row:
    def load(loads: Loads, server: Site) -> Load:
        return loads.pull(server, size * MIB, clients, times=times)

    title = f"pull {clients:,} x {size} MiB{_often(times)}, one worker"
    return Row(name, title, load, (NGINX_ONE,), rounds, 3, own=ONE, faster=0.95)


def _often(times: int) -> str:
    return f", {times} times" if times > 1 else ""


def _small(what: str, title: str, *, keep: bool, faster: float | None = None) -> Row:
    def load(loads: Loads, server: Site) -> Load:
        return loads.small(server, what, keep=keep)

    name = f"{what}-{'keep' if keep else 'new'}"
    how = "keep-alive" if keep else "new connections"
    return Row(name, f"{title}, {how}", load, ("go",), 3, 3, faster=faster, unit="request")


def _view_small(what: str, title: str, *, keep: bool) -> Row:
    def load(loads: Loads, server: Site) -> Load:
        return loads.small(server, what, keep=keep)

    name = f"v2-{what}-{'keep' if keep else 'new'}"
    how = "keep-alive" if keep else "new connections"
    peers, faster = ("ours", "go"), 0.9 if what == "json" else None
    title = f"over v2: {title}, {how}"
    return Row(name, title, load, peers, 3, 3, own=VIEW, faster=faster, unit="request")


def _view_pull(clients: int, size: int, rounds: int) -> Row:
    def load(loads: Loads, server: Site) -> Load:
        return loads.pull(server, size * MIB, clients)

    title = f"over v2: pull {clients:,} x {size} MiB"
    name, peers = f"v2-pull-{clients}", ("ours", "go")
    return Row(name, title, load, peers, rounds, 2, own=VIEW, faster=0.9)


def _indexed(own: str, how: str) -> tuple[Row, ...]:
    """Return the rows for a server with all features, mainly for its memory."""
    name = own.removeprefix("ours-")
    return (
        Row(
            f"{name}-push-50",
            f"{how}: 50 pushes of 20 MiB at once",
            lambda loads, server: loads.push(server, 20 * MIB, clients=50),
            ("ours",),
            own=own,
        ),
        Row(
            f"{name}-both",
            f"{how}: 1,000 pulls of 2 MiB and 50 pushes of 20 MiB at once",
            lambda loads, server: loads.both(server, 2 * MIB, 1000, 20 * MIB, 50),
            ("ours",),
            quick=0,
            own=own,
        ),
    )


_JSON = "image json (Go: manifest)"
_TAGS = "tags"
_PING = "_ping (Go: /v2/)"

ROWS = (
    Row(
        "push-1",
        "push 1 x 200 MiB",
        lambda loads, server: loads.push(server, 200 * MIB),
        ("go",),
        rounds=5,
        quick=2,
        cpu=1.5,
    ),
    Row(
        "push-20",
        "push one image of 20 x 5 MiB",
        lambda loads, server: loads.push(server, 5 * MIB, layers=20),
        ("go",),
        rounds=5,
        quick=2,
    ),
    Row(
        "push-50",
        "50 pushes of 20 MiB at once",
        lambda loads, server: loads.push(server, 20 * MIB, clients=50),
        ("go",),
        rounds=7,
        faster=2.0,
        cpu=1.5,
    ),
    _pull("pull-1", 1, 200, 9, 3, times=10),
    _pull_one("pull-1-worker", 1, 200, 9, times=10),
    _pull("pull-50", 50, 20, 5, 2, times=4),
    _pull_one("pull-50-worker", 50, 20, 5, times=4),
    _pull("pull-200", 200, 20, 3, 0),
    _pull("pull-1000", 1000, 5, 3),
    Row(
        "both",
        "1,000 pulls of 2 MiB and 50 pushes of 20 MiB at once",
        lambda loads, server: loads.both(server, 2 * MIB, 1000, 20 * MIB, 50),
        ("go",),
        quick=0,
    ),
    _small("json", _JSON, keep=True, faster=2.0),
    _small("json", _JSON, keep=False, faster=2.0),
    _small("tags", _TAGS, keep=True),
    _small("tags", _TAGS, keep=False),
    _small("ping", _PING, keep=True),
    _small("ping", _PING, keep=False),
    _view_pull(1, 200, 9),
    _view_pull(50, 20, 5),
    _view_small("json", "manifest (v1: image json)", keep=True),
    _view_small("json", "manifest (v1: image json)", keep=False),
    _view_small("tags", _TAGS, keep=True),
    *_indexed(INDEXED, "index in SQLite, Redis"),
    *_indexed(INDEXED_POSTGRES, "index in PostgreSQL, Redis"),
)


def _stored(store: str, clients: int, size: int) -> tuple[Row, ...]:
    """Return rows of pushes, pulls and redirected pulls by several clients through an object store."""
    ours, go, alone = f"ours-{store}", f"go-{store}", {"s3": "ceph", "swift": "swift"}[store]
    what = f"{clients} x {size} MiB"

    def push(loads: Loads, server: Site) -> Load:
        return loads.push(server, size * MIB, clients=clients)

    def pull(loads: Loads, server: Site) -> Load:
        return loads.pull(server, size * MIB, clients)

    def redirected(loads: Loads, server: Site) -> Load:
        return loads.pull(server, size * MIB, clients, redirected=True)

    def row(kind: str, title: str, load: Callable[[Loads, Site], Load], *peers: str) -> Row:
        name, own = f"{store}-{kind}-{clients}", ours
        if kind == "redirect":
            own += "-redirect"
        quick = int(clients == 10)
        return Row(name, f"{store}: {title}", load, peers, 2, quick, own, faster=1.0)

    return (
        row("push", f"push {what}", push, go),
        row("pull", f"pull {what}", pull, go, alone),
        row("redirect", f"pull {what}, redirected", redirected, alone, f"{go}-redirect"),
    )


def _nodes(name: str, title: str, load: Callable[[Loads, Site], Load], unit: str = "GB") -> Row:
    """Return rows that compare three nodes behind nginx with one, with one worker each."""
    own, peers = "ours-s3-three", ("ours-s3-one",)
    return Row(f"s3-nodes-{name}", f"s3: {title}, 3 nodes", load, peers, 2, 1, own, unit=unit)


STORED = (
    *_stored("s3", 10, 20),
    *_stored("s3", 50, 20),
    *_stored("s3", 200, 5),
    Row(
        "s3-json",
        f"s3: {_JSON}",
        lambda loads, server: loads.small(server, "json", keep=True),
        ("go-s3",),
        own="ours-s3",
        unit="request",
    ),
    Row(
        "s3-json-redis",
        "s3: image json by Redis, no cache in the process",
        lambda loads, server: loads.small(server, "json", keep=True),
        ("ours-s3-cold",),
        own="ours-s3-redis",
        unit="request",
    ),
    Row(
        "s3-tags",
        f"s3: {_TAGS}",
        lambda loads, server: loads.small(server, "tags", keep=True),
        ("go-s3",),
        own="ours-s3",
        unit="request",
    ),
    _nodes("push", "push 50 x 5 MiB", lambda at, server: at.push(server, 5 * MIB, clients=50)),
    _nodes("pull", "pull 50 x 20 MiB", lambda at, server: at.pull(server, 20 * MIB, 50)),
    _nodes("json", _JSON, lambda at, server: at.small(server, "json", keep=True), "request"),
    *_stored("swift", 10, 20),
    *_stored("swift", 50, 20),
    *_stored("swift", 200, 5),
)
"""The rows of object stores: each server on the same Ceph, or our server on Swift."""

MOST_MEMORY = 100.0
"""Limit in MB (PSS) for two workers and their master on local files, under any load."""

BOUNDED = ("ours", INDEXED, INDEXED_POSTGRES)
"""Servers to which this limit applies."""
