"""The tables. Times are whole seconds since the epoch. Names were checked by the caller.

Each change here needs a step in `migrations`.
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

# SQLite assigns ids only to a primary key of exactly this type.
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

#: Secrets that robots use instead of a password; `digest` is the SHA-256 of the text.
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

#: Namespaces of accounts (`account_id`) and of organisations.
namespaces = Table(
    "namespaces",
    metadata,
    _id(),
    Column("name", String(255), nullable=False, unique=True),
    Column("account_id", _Id, _of("accounts"), unique=True),
    Column("created", BigInteger, nullable=False),
    # whether new repositories are private; NULL: `index.private` decides
    Column("is_private", Boolean),
)

#: Roles of accounts; `repository` is empty for a whole namespace.
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
    # whether the store has had it: only then can it be missing from the store
    Column("is_stored", Boolean, nullable=False, default=False),
    # A random text for each creation, so that a token of a deleted repository is not valid for a new
    # one of the same name. Empty for rows from before version 5.
    Column("made", String(16), nullable=False, server_default=""),
    # time since when it is missing from the store (NULL: it is not), and whether lists hide it
    # because it has been missing for too long
    Column("missing", BigInteger),
    Column("is_gone", Boolean, nullable=False, server_default=false()),
)
Index("repositories_by_stars", repositories.c.stars.desc(), repositories.c.name)

#: Indexes by name that `index.visibility` reads in order; see `migrations`.
BY_SIGHT = {
    "repositories_public_by_stars": "(stars DESC, name) WHERE is_private = false",
    "repositories_public_by_name": "(name) WHERE is_private = false",
    "repositories_private_by_stars": "(namespace_id, stars DESC, name) WHERE is_private = true",
    "repositories_private_by_name": "(namespace_id, name) WHERE is_private = true",
}

#: Repositories that a request deleted. Only a new push may create them again.
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

#: The image lists of clients; `is_granted`: whether the entry gives a right to read the image.
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
    Column("is_signing", Boolean, nullable=False),  # for one key at most; the others only verify
)

#: Counters of `index.counts`, which a separate migration creates.
counters = Table(
    "counters",
    MetaData(),
    Column("key", String(100), primary_key=True),
    Column("total", Integer, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
)

#: Leases of periodic tasks that one process of all nodes runs at a time.
leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("until", BigInteger, nullable=False),
)
