"""Helpers of the index commands: open the configured index."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from v1registry.commands.common import load_configuration, prepare_store
from v1registry.commands.errors import CommandError
from v1registry.commands.owner import take_owner
from v1registry.lib.names import suits_old_engines
from v1registry.lib.running import in_place
from v1registry.storage import Storage
from v1registry.wiring.store import opened

if TYPE_CHECKING:
    from v1registry.wiring.index import OwnIndex

Row = TypeVar("Row")


def open_index() -> OwnIndex:
    """Open the configured index."""
    return open_index_and_store(needs_store=False)[0]


def open_index_and_store(*, needs_store: bool = True) -> tuple[OwnIndex, Storage | None]:
    """Open the configured index and the store; the store is None for an index without a store."""
    config = load_configuration()
    if config.index.database is None:
        raise CommandError("no index is configured: set index.database, or INDEX_DATABASE")
    if needs_store:
        prepare_store(config)
    else:
        take_owner(config)
    # The command prints errors itself.
    logging.getLogger("v1registry").addHandler(logging.NullHandler())
    from v1registry.wiring import index  # imports SQLAlchemy, which is slow
    from v1registry.wiring.database import opened as opened_database
    from v1registry.wiring.database import unbounded

    database = opened_database(config, in_place, unbounded)
    click.get_current_context().call_on_close(database.close)
    database.prepare()
    storage = opened(config, in_place) if config.storage else None
    if storage is not None and needs_store:
        storage.prepare()
    taken = index.taken_in(storage) if storage is not None else lambda _: False
    return index.OwnIndex(config, database, in_place, taken), storage


def warn_of_old_engines(namespace: str) -> None:
    """Warn on standard error about a namespace that Docker up to 1.5 cannot use."""
    if not suits_old_engines(namespace):
        click.echo(
            f"warning: Docker engines up to 1.5 cannot use the namespace {namespace}: they accept"
            " only 4 to 30 characters of a-z, 0-9 and _",
            err=True,
        )


def every(page: Callable[..., Sequence[Any]]) -> list[Any]:
    """Return the rows of all pages. `page(after=name)` returns the rows that follow this name."""
    found = list(rows := page())
    while rows:
        found += (rows := page(after=rows[-1].name))
    return found
