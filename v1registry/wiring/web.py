"""What the pages need of the configuration."""

from __future__ import annotations

from collections.abc import Callable

from v1registry.config import Config


def session_secret(
    config: Config, stored: Callable[[], bytes | None]
) -> Callable[[], bytes | None]:
    """Return the function that returns the secret of sessions: `web.secret`, or else `stored`."""
    configured = config.web.secret
    return stored if configured is None else configured.encode
