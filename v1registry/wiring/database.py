"""Opening and preparing the configured database. Imported only if one is configured."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from v1registry.config import Config, ConfigError, Problem
from v1registry.index import migrations
from v1registry.index.database import Database
from v1registry.index.tokenkeys import TokenKeys
from v1registry.lib.errors import Failure, with_cause
from v1registry.lib.running import Run, Within, in_place


def unbounded(_seconds: float, function: Callable[[], Any]) -> Any:
    """Call `function` without a timeout, in place of `deadline.within`."""
    return function()


def opened(config: Config, offload: Run, within: Within) -> Database:
    """Return the configured database. Opens no connection."""
    assert config.database is not None
    return Database(
        config.database,
        offload,
        within,
        connections=config.index.connections,
        timeout=config.index.database_timeout,
    )


def prepare(config: Config, database: Database) -> None:
    """Prepare the database, if it answers. If not, endpoints return 503 until it does.

    Raise ConfigError if a later version of v1registry has used the database.
    """
    try:
        database.prepare()
        if config.is_index and not config.read_only:
            TokenKeys(database).ensure()  # registries need it before the first push
    except migrations.TooNew as error:
        raise _too_new(config, error) from None
    except Failure:
        pass  # already logged


def problem_of(config: Config) -> str | None:
    """Return why the database cannot be used now, or None. Raise ConfigError as `prepare` does."""
    logging.getLogger("v1registry.index").addHandler(logging.NullHandler())  # the caller reports it
    with contextlib.closing(opened(config, in_place, unbounded)) as database:
        try:
            database.prepare()
        except migrations.TooNew as error:
            raise _too_new(config, error) from None
        except Failure as failure:
            return with_cause(failure)
    return None


def _too_new(config: Config, error: migrations.TooNew) -> ConfigError:
    key = "index.database" if config.index.database else "sqlalchemy_index_database"
    return ConfigError(config.file, [Problem(f"{config.flavor}.{key}", str(error))])
