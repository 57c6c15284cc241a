"""Options of the cleaner, which deletes abandoned uploads."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "uploads_life",
        "duration",
        "How long an abandoned upload stays after its last change. Checksums of received layers"
        " are kept for the same time.",
        default="1d",
        variable="UPLOADS_LIFE",
        at_least=1,
    ),
    Option(
        "clean_interval",
        "duration",
        "How often the cleaner searches for abandoned uploads; 0: only by the command `clean`.",
        default="1h",
        variable="CLEAN_INTERVAL",
    ),
)
