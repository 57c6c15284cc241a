"""The Redis of the configuration, named by a URL or as docker-registry 0.x does."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

_PORT = 6379
_DATABASES = 1_000_000


@dataclass(frozen=True, slots=True)
class Redis:
    """A Redis at `host` and `port`, or at the path `socket`. `ca` is a PEM file, for `tls`."""

    host: str | None
    port: int
    db: int
    password: str | None = field(repr=False)
    username: str | None = None
    socket: str | None = None
    tls: bool = False
    ca: str | None = None

    @property
    def address(self) -> str:
        """The address for the log."""
        return f"{self.socket or f'{self.host}:{self.port}'}, database {self.db}"


def parse(url: str, password: str | None = None, ca: str | None = None) -> Redis:
    """Return the Redis of a URL: redis://, rediss:// (TLS) or unix://.

    `password` is used if the URL has none.

    :raises ValueError: the URL has another form. The text does not quote it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(_FORM) from None
    user, colon, secret = parts.netloc.rpartition("@")[0].partition(":")
    if parts.scheme not in ("redis", "rediss", "unix") or parts.netloc.count("@") > 1:
        raise ValueError(_FORM)
    own = unquote(secret) if colon and secret else password
    name = unquote(user) or None
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme == "unix":
        if parts.hostname or not parts.path or set(query) - {"db"} or parts.fragment:
            raise ValueError(_FORM)
        db = _database(query.get("db", ""))
        return Redis(None, 0, db, own, name, socket=unquote(parts.path))
    if not parts.hostname or parts.query or parts.fragment:
        raise ValueError(_FORM)
    db = _database(parts.path.removeprefix("/"))
    tls = parts.scheme == "rediss"
    return Redis(parts.hostname, port or _PORT, db, own, name, tls=tls, ca=ca if tls else None)


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and int(text[:8]) < _DATABASES):
        raise ValueError(_FORM)
    return int(text or 0)


_FORM = (
    "must be redis://[user][:password@]host[:port][/db], the same with rediss://, or"
    " unix://[user][:password@]/path[?db=N]; write @ : / ? # in a password as %40 %3A %2F %3F %23"
)
