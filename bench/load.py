"""The process of the load generator: reads a job as JSON from standard input, prints its result.

It is a process of its own, so that its CPU time counts neither for the servers nor for the measurement.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from typing import Any

from bench.clients import KINDS
from bench.loop import Loop


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run a job: `address`, `limit` (seconds), `clients`: a list of {kind, count, what}."""
    loop = Loop()
    address = (job["address"][0], int(job["address"][1]))
    clients = [
        (group["kind"], KINDS[group["kind"]](address, loop.outcome, **group["what"]))
        for group in job["clients"]
        for _ in range(group.get("count", 1))
    ]
    gc.disable()
    before = _cpu()
    outcome = loop.run(clients, job["limit"])
    return {
        "seconds": outcome.seconds,
        "answers": outcome.answers,
        "bytes": outcome.bytes,
        "errors": outcome.errors,
        "messages": dict(outcome.messages.most_common(3)),
        "last": {kind: max(times) for kind, times in outcome.ended.items()},
        "cpu": _cpu() - before,
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Raise the limit of open files as far as possible, and run the job."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    json.dump(run(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
