"""Options of our own index: accounts, rights, repositories, search."""

from __future__ import annotations

from v1registry.config.index import SIGN_UP
from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "index.database",
        "database URL",
        "Run an index in this process, and keep its data in this database:"
        " `sqlite:////path/index.db` for one machine, `postgresql://user:password@host/database`"
        " for several. See [index](index.md).",
        variable="INDEX_DATABASE",
        secret=True,
    ),
    Option(
        "index.alone",
        "boolean",
        "Run an index without a registry. It needs no store. `registry_endpoints` names the"
        " registries with the images.",
        default=False,
        variable="INDEX_ALONE",
    ),
    Option(
        "index.sign_up",
        "choice",
        "Who may create an account, by `docker login` of an engine up to 1.10 or by `POST"
        " /v1/users/`: no client (`closed`), every client (`open`), or clients with an invitation"
        " (`v1registry index invite`). Later engines cannot create accounts.",
        default="closed",
        variable="INDEX_SIGN_UP",
        choices=SIGN_UP,
    ),
    Option(
        "index.private",
        "boolean",
        "Whether new repositories are private: only their members see them and pull from them.",
        default=False,
        variable="INDEX_PRIVATE",
    ),
    Option(
        "index.lists_grant",
        "boolean",
        "Only for an index without a registry: a user may read all images that the user's image"
        " lists name. Registries of 0.x need this. It lets every user who knows an image id read"
        " that image. v1registry does not need it.",
        default=False,
        variable="INDEX_LISTS_GRANT",
    ),
    Option(
        "index.token_life",
        "duration",
        "How long a token is valid. A client uses one token for a whole push or pull, so the time"
        " must not be shorter than the longest of them.",
        default="4h",
        variable="INDEX_TOKEN_LIFE",
        at_least=60,
    ),
    Option(
        "index.connections",
        "number",
        "The largest number of connections from one process to the database.",
        default=5,
        variable="INDEX_CONNECTIONS",
        at_least=1,
    ),
    Option(
        "index.database_timeout",
        "duration",
        "The longest time to wait for the database. After it, the client gets 503.",
        default="10s",
        variable="INDEX_DATABASE_TIMEOUT",
        at_least=1,
    ),
    Option(
        "index.repair_interval",
        "duration",
        "How often the index compares the store with the database and adds missing entries; 0:"
        " only by `v1registry index rebuild`.",
        default="1h",
        variable="INDEX_REPAIR_INTERVAL",
    ),
    Option(
        "index.missing_grace",
        "duration",
        "How long a repository must be missing in the store before the index hides it from lists"
        " and searches. See [index](index.md#what-the-store-lacks).",
        default="1d",
        variable="INDEX_MISSING_GRACE",
    ),
    Option(
        "index.missing_share",
        "number",
        "The percentage of its repositories that the index may mark as missing in one comparison"
        " with the store. If more than 10 repositories and more than this share are missing, it"
        " marks none and logs a warning.",
        default=10,
        variable="INDEX_MISSING_SHARE",
    ),
)
