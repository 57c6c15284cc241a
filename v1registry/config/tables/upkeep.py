"""How long leftovers stay, and how often they are looked for."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "uploads_life",
        "duration",
        "Abandoned uploads are removed when untouched for so long; checksums of received copies"
        " are kept so long.",
        default="1d",
        variable="UPLOADS_LIFE",
        at_least=1,
    ),
    Option(
        "clean_interval",
        "duration",
        "How often abandoned uploads are looked for; 0: only by the command `clean`.",
        default="1h",
        variable="CLEAN_INTERVAL",
    ),
)
