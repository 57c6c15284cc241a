"""Become the user who owns the store, before a command of root writes to it."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import struct
import sys

import click

from v1registry.commands.errors import CommandError
from v1registry.config import Config
from v1registry.config.database import file_of
from v1registry.storage import keys
from v1registry.wiring import store

# From linux/prctl.h and linux/capability.h, Linux 6.1.
_PR_SET_KEEPCAPS = 8
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_READ_SEARCH = 1 << 2

_USER = "v1registry.user"  # in click's context: the uid that the command uses


def owner(config: Config) -> tuple[int, int, str] | None:
    """Return uid, gid and path of the local store or the database file; None if there is neither.

    If the folder of the store does not exist, its nearest existing parent counts. If root owns the
    folder (a mount point, for example), the owner of the registry's own folder in it counts.
    """
    root = None if config.index.alone else store.root(config.storage)
    path = root or file_of(config.database or "")
    if not path:
        return None
    while not os.path.exists(path):
        path = os.path.dirname(path)
    ours = f"{path}/{keys.OURS}"
    if os.stat(path).st_uid == 0 and os.path.exists(ours):
        path = ours
    status = os.stat(path)
    return status.st_uid, status.st_gid, path


def take_owner(config: Config) -> None:
    """As root, become the user who owns the store or the database. If that fails, end the command.

    The registry cannot replace files that root writes there, and they stop its next start. Also,
    root must not follow links that the registry's user may have made. The command keeps the right
    to read what root can read: archives, and a Python installation below /root.
    """
    found = owner(config) if os.geteuid() == 0 else None
    if found is None or found[0] == 0:
        return
    uid, gid, path = found
    try:
        _become(uid, gid)
    except OSError:
        line = " ".join(["sudo -u", f"'#{uid}'", "v1registry", *sys.argv[1:]])
        raise CommandError(
            f"user {uid} owns {path} and could not use files that root writes there. Run: {line}"
        ) from None
    click.get_current_context().meta[_USER] = uid
    click.echo(f"v1registry: working as user {uid}, the owner of {path}", err=True)


def explained(text: str) -> str:
    """Return the text of an error; name the user if its rights may be the reason."""
    uid = click.get_current_context().meta.get(_USER)
    if uid is None or os.strerror(errno.EACCES) not in text:
        return text
    return f"{text} for user {uid}: name a path in a folder that this user may write"


def _become(uid: int, gid: int) -> None:
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        groups = [gid]
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)
    for kept in (_CAP_DAC_READ_SEARCH, 0):  # a container may not have this right: then keep none
        header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
        if libc.capset(header, struct.pack("6I", kept, kept, 0, 0, 0, 0)) == 0:
            return
    raise OSError("the rights of root cannot be dropped")
