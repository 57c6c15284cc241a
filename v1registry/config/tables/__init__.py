"""The table of options, a module for each subject; their order is that of the documentation."""

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
