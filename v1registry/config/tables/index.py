"""An index of our own: accounts, rights, facts about repositories, search."""

from __future__ import annotations

from v1registry.config.index import SIGN_UP
from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "index.database",
        "database URL",
        "Be an index, too, and keep its accounts and all that in this database:"
        " `sqlite:////path/index.db` for one machine, `postgresql://user:password@host/database`"
        " for many. See [index](index.md).",
        variable="INDEX_DATABASE",
        secret=True,
    ),
    Option(
        "index.alone",
        "boolean",
        "Be an index and no registry: `registry_endpoints` says where the images are, and there is"
        " no store.",
        default=False,
        variable="INDEX_ALONE",
    ),
    Option(
        "index.sign_up",
        "choice",
        "Who may make an account by `docker login` of an engine up to 1.10, or by `POST /v1/users/`:"
        " nobody, everybody, or holders of an invitation (`v1registry index invite`). Later engines"
        " only log in.",
        default="closed",
        variable="INDEX_SIGN_UP",
        choices=SIGN_UP,
    ),
    Option(
        "index.private",
        "boolean",
        "Whether new repositories are private: only members see them and pull from them.",
        default=False,
        variable="INDEX_PRIVATE",
    ),
    Option(
        "index.lists_grant",
        "boolean",
        "Of an index alone: the images that a client lists count as its own. Registries of 0.x need"
        " that, and with it whoever knows an image's id can get at it; ours find out themselves.",
        default=False,
        variable="INDEX_LISTS_GRANT",
    ),
    Option(
        "index.token_life",
        "duration",
        "How long a token is good. A push or pull has one for its whole time, so it must not be"
        " shorter than the longest of them.",
        default="4h",
        variable="INDEX_TOKEN_LIFE",
        at_least=60,
    ),
    Option(
        "index.connections",
        "number",
        "Connections to the database that a process opens at most.",
        default=5,
        variable="INDEX_CONNECTIONS",
        at_least=1,
    ),
    Option(
        "index.database_timeout",
        "duration",
        "How long the database may take, before the client is told 503.",
        default="10s",
        variable="INDEX_DATABASE_TIMEOUT",
        at_least=1,
    ),
    Option(
        "index.repair_interval",
        "duration",
        "How often the store is walked for what the database lacks; 0: only by"
        " `v1registry index rebuild`.",
        default="1h",
        variable="INDEX_REPAIR_INTERVAL",
    ),
    Option(
        "index.missing_grace",
        "duration",
        "How long the store must lack a repository before the index hides it from lists and"
        " searches. See [index](index.md#what-the-store-lacks).",
        default="1d",
        variable="INDEX_MISSING_GRACE",
    ),
    Option(
        "index.missing_share",
        "number",
        "The percentage of its repositories that the index may newly note as missing in one"
        " comparison with the store. Beyond 10 repositories and this share it notes none, and logs"
        " a warning.",
        default=10,
        variable="INDEX_MISSING_SHARE",
    ),
)
