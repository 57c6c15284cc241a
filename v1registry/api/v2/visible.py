"""Which clients see the v2 view (protocol-v1.md section 7.4).

Docker 1.5 to 1.13 request `/v2/` first, and would no longer use v1 if it existed. For them v2 does
not exist. If v2 has a host or a port of its own, it exists only there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from v1registry.config.tables.v2 import V2Options

_NONE = "none"  # in `hidden_from`: clients that send no User-Agent


class Visibility:
    """Decides by the WSGI environment of a request whether its client sees v2."""

    def __init__(self, v2: V2Options) -> None:
        self._enabled = v2.enabled
        self._has_own_place = bool(v2.hosts or v2.port)
        self._hosts = frozenset(host.lower() for host in v2.hosts)
        self._port = str(v2.port) if v2.port else None
        self._hidden = tuple(word for word in v2.hidden_from if word != _NONE)
        self._to_nameless = _NONE not in v2.hidden_from

    def shows(self, environ: Mapping[str, Any]) -> bool:
        if not self._enabled:
            return False
        if self._has_own_place:
            return self._is_own_place(environ)
        agent = str(environ.get("HTTP_USER_AGENT", "")).strip()
        return not agent.startswith(self._hidden) if agent else self._to_nameless

    def _is_own_place(self, environ: Mapping[str, Any]) -> bool:
        if self._port is not None and str(environ.get("SERVER_PORT")) == self._port:
            return True
        host = str(environ.get("HTTP_HOST", "")).lower()
        name = host.rpartition(":")[0] if not host.endswith("]") else host
        return host in self._hosts or name in self._hosts
