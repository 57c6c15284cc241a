"""The command `readonly`: the switch that makes all nodes refuse writes."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import asdict
from datetime import UTC, datetime

import click

from v1registry.commands.common import load_configuration, prepare_store
from v1registry.commands.errors import CommandError
from v1registry.commands.results import Result, ResultGroup
from v1registry.storage.readonly import LIFE, MAX_REASON, ReadOnlyState, ReadOnlySwitch


@click.group("readonly", cls=ResultGroup)
def readonly() -> None:
    """Refuse or accept writes on all nodes, without a restart (docs/maintenance.md)."""


@readonly.command("on")
@click.option("--reason", default="", help="Text that clients get with each refused write.")
def switch_on(reason: str) -> Result:
    """Refuse writes on all nodes, within 5 seconds. Pulls and searches go on."""
    if not reason.isprintable() or len(reason) > MAX_REASON:
        raise CommandError(f"--reason must be one line of at most {MAX_REASON} characters")
    user = f"{_user()} on {socket.gethostname()}"  # before this process becomes the store's owner
    state = _switch(writes=True).switch_on(user, reason)
    text = f"All nodes refuse writes within {LIFE:.0f} seconds, until: v1registry readonly off"
    return Result(text, _value(state))


@readonly.command("off")
def switch_off() -> Result:
    """Accept writes again on all nodes, within 5 seconds."""
    was_on = _switch(writes=True).switch_off()
    text = f"All nodes accept writes within {LIFE:.0f} seconds"
    return Result(text if was_on else "The store was not read-only", _value(None))


@readonly.command("status")
def status() -> Result:
    """Print whether the store is read-only, since when, by whom and why."""
    state = _switch(writes=False).state()
    if state is None:
        return Result("Writes are accepted", _value(None))
    since = datetime.fromtimestamp(state.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
    reason = f": {state.reason}" if state.reason else ""
    return Result(f"Read-only since {since} by {state.by}{reason}", _value(state))


def _value(state: ReadOnlyState | None) -> dict[str, object]:
    return {"read_only": state is not None, **(asdict(state) if state is not None else {})}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"user {os.getuid()}"


def _switch(*, writes: bool) -> ReadOnlySwitch:
    from v1registry.lib.running import in_place
    from v1registry.wiring.store import opened

    config = load_configuration()
    if config.index.alone:
        raise CommandError("this is an index without a store: run the command at the registry")
    if writes and config.read_only:
        raise CommandError("read_only is set: run the command on a node that writes to the store")
    prepare_store(config)
    store = opened(config, in_place)
    store.prepare()
    return store.switch
