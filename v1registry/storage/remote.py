"""The common parts of the drivers for stores over the network.

`RemoteStorage` checks such a store, `PerThread` keeps its clients. A handle of a staged object is a
token, a space and the key; `prefix` returns the key prefix that 0.x used.
"""

from __future__ import annotations

import contextlib
import posixpath
import secrets
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from v1registry.storage import Storage, exists, keys
from v1registry.storage.errors import NotFound, Refused, StorageError, Unavailable

T = TypeVar("T")

CONNECT_SECONDS = 3  # timeout for connecting to a server
URL_SECONDS = 1200  # lifetime of a signed URL, as in 0.x
CONNECTIONS = 1000  # that each client keeps open; beyond it, it opens more instead of waiting
CHECK = "check-"  # begins the names of the objects that `check` writes
UPLOADS = f"{keys.OURS}/uploads"  # the folder of staged objects


class RemoteStorage(Storage):
    """A store over the network, into which several nodes may write."""

    #: the option to set for a store whose conditional writes do not work
    unless_atomic: str

    @property
    @abstractmethod
    def place(self) -> str:
        """The name of the bucket or container, for messages."""

    def get(self, key: str) -> bytes:
        with self.open(key) as blob:
            return blob.read()

    def create(self, key: str, data: bytes) -> bool:
        if not self.creates_atomically and exists(self, key):
            return False
        return self._create(key, data)

    @abstractmethod
    def _create(self, key: str, data: bytes) -> bool:
        """Create an object, by a conditional write if `creates_atomically`; return whether it did."""

    def prepare(self) -> None:
        """Check that the bucket or container can be used, and that `create` is atomic."""
        next(self.stages(), None)  # first: a listing gives the clearest error for wrong credentials
        self.check()

    def check(self) -> None:
        """Write, read and delete a small object. Raise Refused if a second `create` succeeds."""
        key = f"{keys.OURS}/{CHECK}{secrets.token_hex(8)}"
        if not self.create(key, b"true"):
            raise Unavailable(f"{self.place}: the store says that a new key exists already")
        try:
            if self.get(key) != b"true":
                raise Unavailable(f"{self.place}: the store does not return what was written")
            if self.create(key, b"false"):
                raise Refused(
                    f"{self.place}: the store creates a key twice. Set {self.unless_atomic}"
                )
        finally:
            with contextlib.suppress(StorageError):
                self.delete(key)

    def clean(self, before: float) -> int:
        removed = 0
        for entry in self.list(keys.OURS):
            key = f"{keys.OURS}/{entry.name}"
            with contextlib.suppress(NotFound):
                if entry.name.startswith(CHECK) and self.stat(key).modified < before:
                    self.delete(key)
                    removed += 1
        return removed


class PerThread(Generic[T]):
    """One value for each thread of the operating system, made when the thread first asks for it.

    Under gevent, a connection belongs to the event loop of the thread that opened it, and the
    domain reads some layers in the threads of a pool.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[int, T] = {}
        self._lock = threading.RLock()

    def get(self) -> T:
        """Return this thread's value. Raise what `make` raises."""
        thread = threading.get_native_id()  # get_ident is the green thread's under gevent
        if thread not in self._values:
            with self._lock:
                if thread not in self._values:
                    self._values[thread] = self._make()
        return self._values[thread]


def split_handle(handle: str) -> tuple[str, str]:
    """Return the token and the key of a handle. Raise NotFound if it is not a handle."""
    token, blank, key = handle.partition(" ")
    if not token or not blank or not key:
        raise NotFound(f"{handle}: not a handle")
    return token, key


def staged_key(handle: str) -> str:
    """Return the key of a staged object that is an object of its own."""
    token, key = split_handle(handle)
    if not token.isalnum():
        raise NotFound(f"{handle}: not a handle")
    return f"{UPLOADS}/{token}/{key}"


def prefix(storage_path: str | None) -> str:
    """Return the prefix of all keys: `/registry` -> `registry/`, `/` -> nothing, unset -> `test/`."""
    return posixpath.join(storage_path or "/test", "").removeprefix("/")


def tags_first(names: Iterable[str]) -> list[str]:
    """Return the order of deletion: tags first, so that readers find no tag without its image."""
    return sorted(names, key=lambda name: not posixpath.basename(name).startswith("tag_"))


def proxies(options: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the configured HTTP proxy; None to use that of the environment (HTTPS_PROXY, NO_PROXY)."""
    host, port = options["boto_proxy"], options["boto_proxy_port"]
    if not host:
        return None
    user, password = options["boto_proxy_user"], options["boto_proxy_pass"]
    account = f"{quote(user, safe='')}:{quote(password or '', safe='')}@" if user else ""
    address = f"http://{account}{host}" + (f":{port}" if port else "")
    return {"http": address, "https": address}
