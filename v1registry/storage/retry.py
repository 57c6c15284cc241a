"""The backoff of all drivers: how long to wait before a failed request is sent again."""

from __future__ import annotations

import random
from collections.abc import Iterator

#: Seconds between attempts, and up to half as much again at random, so that many workers do not
#: return at once. They add up to more than a second: GCS lets an object change once a second.
PAUSES = (0.2, 0.6, 1.2)


def pauses(attempts: int = 3) -> Iterator[float | None]:
    """Yield, for each attempt, the seconds to wait after it fails; None for the last attempt."""
    for shortest in PAUSES[: attempts - 1]:
        yield shortest * (1 + random.random() / 2)
    yield None
