"""The URL of a database, of our own index or of the search."""

from __future__ import annotations

import importlib.util
import re
from typing import Any
from urllib.parse import urlsplit

from v1registry.storage.errors import installing

#: The search database in the sample file of docker-registry 0.x. It is not used: it may belong to
#: root, and nodes cannot share it, so the names in the store are as good.
OLD_DEFAULT = "sqlite:////tmp/docker-registry.db"

_FORM = (
    "must be sqlite:////absolute/path.db, or postgresql://user:password@host/database (write"
    " @ : / in a password as %40 %3A %2F)"
)
_PACKAGES = {"sqlalchemy": "SQLAlchemy", "bcrypt": "bcrypt", "cryptography": "cryptography"}


def database_url(value: Any) -> str:
    """Check a database URL, in the form of SQLAlchemy and docker-registry 0.x."""
    if not (isinstance(value, str) and value.isprintable()):
        raise ValueError(_FORM)
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        raise ValueError(_FORM) from None
    backend, _, driver = parts.scheme.partition("+")
    if backend == "sqlite" and driver in ("", "pysqlite"):
        if host or not re.fullmatch(r"/.+", parts.path) or parts.path == "/:memory:":
            raise ValueError(_FORM)
    elif backend in ("postgresql", "postgres") and driver in ("", "psycopg", "psycopg2"):
        if not parts.path.strip("/"):
            raise ValueError(_FORM)
    else:
        raise ValueError(_FORM)
    return value


def file_of(url: str) -> str | None:
    """Return the file of a SQLite database; None for another database."""
    parts = urlsplit(url)
    return parts.path[1:] if parts.scheme.startswith("sqlite") else None


def missing(url: str) -> str | None:
    """Return an error about packages that a database needs and that are not installed, or None."""
    wanted = dict(_PACKAGES)
    if file_of(url) is None:
        wanted["psycopg"] = "psycopg"
    absent = [name for module, name in wanted.items() if importlib.util.find_spec(module) is None]
    if not absent:
        return None
    return f"needs {', '.join(absent)}, which is not installed: {installing('index')}"


def unusable(url: str) -> str | None:
    """Return why the search cannot use the database of docker-registry 0.x; None if it can."""
    try:
        database_url(url)
    except ValueError as error:
        return str(error)
    return missing(url)
