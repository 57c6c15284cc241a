"""Who sees that there is a v2 view (protocol-v1.md section 7.4).

Engines 1.5 to 1.13 ask for `/v2/` first, and would leave v1 for it. For them, and wherever v2 has a
host or a port of its own, it does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from v1registry.config import V2

_NONE = "none"  # in the list of those who do not see it: who sends no User-Agent


def is_visible(environ: Mapping[str, Any], v2: V2) -> bool:
    """Whether the sender of a request, by its WSGI environment, is shown v2."""
    if not v2.enabled:
        return False
    if v2.hosts or v2.port:
        return _is_own_place(environ, v2)
    agent = str(environ.get("HTTP_USER_AGENT", "")).strip()
    if not agent:
        return _NONE not in v2.hidden_from
    return not agent.startswith(tuple(word for word in v2.hidden_from if word != _NONE))


def _is_own_place(environ: Mapping[str, Any], v2: V2) -> bool:
    if v2.port and str(environ.get("SERVER_PORT")) == str(v2.port):
        return True
    host = str(environ.get("HTTP_HOST", "")).lower()
    name = host.rpartition(":")[0] if not host.endswith("]") else host
    return any(own.lower() in (host, name) for own in v2.hosts)
