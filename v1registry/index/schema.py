"""The tables. Times are whole seconds since the epoch; names are lower-case and checked before.

A change here is a step in `migrations` too.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)

metadata = MetaData()

# SQLite counts rows by itself in a column of just this type.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[int]:
    return Column("id", _Id, primary_key=True)


def _of(table: str) -> ForeignKey:
    return ForeignKey(f"{table}.id", ondelete="CASCADE")


accounts = Table(
    "accounts",
    metadata,
    _id(),
    Column("name", String(64), nullable=False, unique=True),
    Column("email", String(254), unique=True),
    Column("password", String(100)),  # a bcrypt hash; robots have none
    Column("is_robot", Boolean, nullable=False, default=False),
    Column("is_admin", Boolean, nullable=False, default=False),
    Column("is_disabled", Boolean, nullable=False, default=False),
    Column("created", BigInteger, nullable=False),
)

#: Long-lived secrets that stand in for a password, for CI; `digest` is the SHA-256 of one.
secrets = Table(
    "secrets",
    metadata,
    _id(),
    Column("account_id", _Id, _of("accounts"), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("label", String(100), nullable=False, default=""),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
)

invitations = Table(
    "invitations",
    metadata,
    _id(),
    Column("digest", String(64), nullable=False, unique=True),
    Column("email", String(254)),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
)

#: What repositories lie under: an account's own (`account_id`), or an organisation's.
namespaces = Table(
    "namespaces",
    metadata,
    _id(),
    Column("name", String(255), nullable=False, unique=True),
    Column("account_id", _Id, _of("accounts"), unique=True),
    Column("created", BigInteger, nullable=False),
    # whether new repositories are private; NULL: as `index.private` says
    Column("is_private", Boolean),
)

#: Who has which role; `repository` is empty for all of a namespace, else a name in it.
grants = Table(
    "grants",
    metadata,
    Column("account_id", _Id, _of("accounts"), primary_key=True),
    Column("namespace_id", _Id, _of("namespaces"), primary_key=True),
    Column("repository", String(255), primary_key=True),
    Column("role", String(8), nullable=False),
    Index("grants_of_namespace", "namespace_id"),
)

repositories = Table(
    "repositories",
    metadata,
    _id(),
    Column("namespace_id", _Id, _of("namespaces"), nullable=False, index=True),
    Column("name", String(255), nullable=False, unique=True),  # with its namespace
    Column("description", String(255), nullable=False, default=""),
    Column("full_description", Text, nullable=False, default=""),
    Column("searched", Text, nullable=False),  # name and description, in lower case
    Column("is_private", Boolean, nullable=False, default=False),
    Column("is_official", Boolean, nullable=False, default=False),
    Column("is_automated", Boolean, nullable=False, default=False),
    Column("stars", Integer, nullable=False, default=0),
    Column("pulls", BigInteger, nullable=False, default=0),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    # whether it was seen in the store: only then does its absence there mean something
    Column("is_stored", Boolean, nullable=False, default=False),
    # A random text for each creation, so that a token of a deleted repository does not count for a
    # new one of the same name (see `lib.tokens`). Empty for rows from before version 5.
    Column("made", String(16), nullable=False, server_default=""),
    # since when the store has nothing of it (NULL: it has), and whether that lasts too long to
    # show it in lists
    Column("missing", BigInteger),
    Column("is_gone", Boolean, nullable=False, server_default=false()),
)
Index("repositories_by_stars", repositories.c.stars.desc(), repositories.c.name)

#: What `index.sight` reads in order, by name; see `migrations`.
BY_SIGHT = {
    "repositories_public_by_stars": "(stars DESC, name) WHERE is_private = false",
    "repositories_public_by_name": "(name) WHERE is_private = false",
    "repositories_private_by_stars": "(namespace_id, stars DESC, name) WHERE is_private = true",
    "repositories_private_by_name": "(namespace_id, name) WHERE is_private = true",
}

#: Repositories that were deleted by a request. A push needs the index's leave to make one anew.
deleted = Table(
    "deleted",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("is_private", Boolean, nullable=False),
    Column("deleted", BigInteger, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("repository_id", _Id, _of("repositories"), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("image", String(64), nullable=False),
)

#: The images that clients said a repository has; `is_granted` tells whether that gives any right.
images = Table(
    "images",
    metadata,
    Column("repository_id", _Id, _of("repositories"), primary_key=True),
    Column("image", String(64), primary_key=True),
    Column("checksum", String(255)),
    Column("is_granted", Boolean, nullable=False),
    Index("images_by_id", "image"),
)

stars = Table(
    "stars",
    metadata,
    Column("repository_id", _Id, _of("repositories"), primary_key=True),
    Column("account_id", _Id, _of("accounts"), primary_key=True),
    Column("created", BigInteger, nullable=False),
    Index("stars_of_account", "account_id"),
)

comments = Table(
    "comments",
    metadata,
    _id(),
    Column("repository_id", _Id, _of("repositories"), nullable=False, index=True),
    Column("account_id", _Id, _of("accounts"), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

#: Keys that sign tokens: 32 raw bytes each, in hex.
token_keys = Table(
    "token_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("private", String(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("is_signing", Boolean, nullable=False),  # one at most; the others only check
)

#: Counters of `counts`, made by a migration of their own. `expires` in seconds since the epoch.
counters = Table(
    "counters",
    MetaData(),
    Column("key", String(100), primary_key=True),
    Column("total", Integer, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
)

#: Scheduled work that one process of all does at a time.
leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("until", BigInteger, nullable=False),
)
