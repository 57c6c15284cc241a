"""A lease: of many processes, the one that holds it runs a periodic task.

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
    """Take the lease `name` for some seconds; return False while another process holds it.

    A lease normally ends by expiring. If the store does not create atomically, two processes may take
    it at once. So the task of a lease must be safe to run twice.
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
    if now < until <= now + 10 * seconds:  # a later time was written by a wrong clock
        return False
    storage.put(key, data)
    return storage.get(key) == data


def release(storage: Storage, name: str) -> None:
    """Release the lease early. If it had expired and another process took it, that ends as well."""
    storage.delete(f"{keys.OURS}/leases/{name}")
