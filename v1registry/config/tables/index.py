"""Options of our own index: accounts, rights, repositories, search."""

from __future__ import annotations

from v1registry.config.option import option, table


@table
class IndexOptions:
    """The group `index`. No `database`: no index."""

    database: str | None = option("database URL", secret=True)
    """Run an index in this process, and keep its data in this database: `sqlite:////path/index.db`
    for one machine, `postgresql://user:password@host/database` for several. See
    [index](index.md)."""

    alone: bool = option("boolean", False)
    """Run an index without a registry. It needs no store. `registry_endpoints` names the registries
    with the images."""

    sign_up: str = option("choice", "closed", choices=("closed", "open", "invitation"))
    """Who may create an account, by `docker login` of an engine up to 1.10 or by `POST /v1/users/`:
    no client (`closed`), every client (`open`), or clients with an invitation (`v1registry index
    invite`). Later engines cannot create accounts."""

    private: bool = option("boolean", False)
    """Whether new repositories are private: only their members see them and pull from them."""

    lists_grant: bool = option("boolean", False)
    """Only for an index without a registry: a user may read all images that the user's image lists
    name. Registries of 0.x need this. It lets every user who knows an image id read that image.
    v1registry does not need it."""

    token_life: int = option("duration", "4h", at_least=60)
    """How long a token is valid. A client uses one token for a whole push or pull, so the time must
    not be shorter than the longest of them."""

    connections: int = option("number", 5, at_least=1)
    """The largest number of connections from one process to the database."""

    database_timeout: int = option("duration", "10s", at_least=1)
    """The longest time to wait for the database. After it, the client gets 503."""

    repair_interval: int = option("duration", "1h")
    """How often the index compares the store with the database and adds missing entries; 0: only by
    `v1registry index rebuild`."""

    missing_grace: int = option("duration", "1d")
    """How long a repository must be missing in the store before the index hides it from lists and
    searches. See [index](index.md#what-the-store-lacks)."""

    missing_share: int = option("number", 10)
    """The percentage of its repositories that the index may mark as missing in one comparison with
    the store. If more than 10 repositories and more than this share are missing, it marks none and
    logs a warning."""
