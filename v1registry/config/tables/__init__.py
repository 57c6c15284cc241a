"""The table of options, one module a subject, in the order of docs/configuration.md."""

from __future__ import annotations

from v1registry.config.options import Option
from v1registry.config.tables import access, cache, edge, general, index, limits, upkeep, v2

OPTIONS: tuple[Option, ...] = (
    *general.OPTIONS,
    *access.OPTIONS,
    *index.OPTIONS,
    *limits.OPTIONS,
    *cache.OPTIONS,
    *upkeep.OPTIONS,
    *v2.OPTIONS,
    *edge.OPTIONS,
)
