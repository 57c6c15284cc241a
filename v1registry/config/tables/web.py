"""Options of the pages for people."""

from __future__ import annotations

from v1registry.config.option import option, table


@table
class WebOptions:
    """The group `web`."""

    enabled: bool = option("boolean", True)
    """Serve pages for people below `/ui/`, to which `GET /` redirects browsers ([web.md](web.md))."""

    secret: str | None = option("text", secret=True)
    """The text that signs the sessions of the pages, the same on all nodes. Default: a random one
    that the registry keeps in the store. An index without a registry derives it from its signing
    key. At least 16 characters."""

    session_life: int = option("duration", "12h", at_least=60)
    """How long a user stays signed in on the pages."""
