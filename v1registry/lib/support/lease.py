"""A lease: periodic work that one process of many does.

Its object is where docker-registry 0.x does not look (docs/architecture.md#rule-9-roll-back-stays-possible).
"""

from __future__ import annotations

import json
import secrets
import time

from v1registry.lib import documents
from v1registry.storage import Storage, keys
from v1registry.storage.errors import NotFound


def take(storage: Storage, name: str, seconds: float) -> bool:
    """Take the lease `name` for so long; False while somebody else has it.

    It is left to run out. Where a store does not create atomically two may
    take it at once: the work behind a lease must bear being done twice.
    """
    key = f"{keys.OURS}/leases/{name}"
    now = time.time()
    data = documents.dump({"until": now + seconds, "by": secrets.token_hex(8)})
    try:
        until = float(json.loads(storage.get(key))["until"])
    except NotFound:
        return storage.create(key, data)
    except (ValueError, KeyError, TypeError):
        until = 0.0
    if now < until <= now + 10 * seconds:  # one further ahead was written by a wrong clock
        return False
    storage.put(key, data)
    return storage.get(key) == data


def release(storage: Storage, name: str) -> None:
    """Give it back early. Who took it meanwhile, after it had run out, loses it, too."""
    storage.delete(f"{keys.OURS}/leases/{name}")
