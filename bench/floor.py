"""The minimal cost of receiving a layer on this machine at this time.

A loop in one process receives bytes from a loopback connection, hashes them (SHA-256) and writes them
to a file: no HTTP, no framing, no fsync. On a shared machine the result shows how much of the CPU
seconds per GB of a push other programs cause. Prints CPU seconds per GB.
"""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import statistics
import subprocess
import sys
from pathlib import Path

from bench import memory
from bench.servers import HOST, ROOT

_PIECE = 256 * 1024
_ROUNDS = 3


def measure(source: Path) -> float:
    """Return the CPU seconds per GB of receiving the bytes of `source`, with a file in the same folder."""
    command = [sys.executable, "-m", "bench.floor", str(source)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True)
    return float(done.stdout)


def _once(source: Path, target: Path) -> float:
    with socket.create_server((HOST, 0)) as listener:
        sender = os.fork()
        if not sender:
            _send(listener.getsockname(), source)
        try:
            connection = listener.accept()[0]
            with connection, target.open("wb", buffering=0) as out:
                memory.warm(source.stat().st_size)
                before = _cpu()
                taken = _take(connection, out.fileno())
                used = _cpu() - before
        finally:
            os.waitpid(sender, 0)
            target.unlink(missing_ok=True)
    return used / taken * 1e9


def _send(address: tuple[str, int], source: Path) -> None:
    try:
        with socket.create_connection(address) as connection, source.open("rb") as file:
            connection.sendfile(file)
    finally:
        os._exit(0)


def _take(connection: socket.socket, out: int) -> int:
    view = memoryview(bytearray(_PIECE))
    sum = hashlib.sha256()
    taken = 0
    while count := connection.recv_into(view):
        sum.update(view[:count])
        os.write(out, view[:count])
        taken += count
    return taken


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the median of several rounds."""
    source = Path(sys.argv[1])
    target = source.with_name("floor")
    print(statistics.median(_once(source, target) for _ in range(_ROUNDS)))


if __name__ == "__main__":
    main()
