"""The command `migrate`."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from v1registry import __version__
from v1registry.commands.moving import (
    ended_well,
    parts_of,
    selecting,
    selection_of,
    tagged,
    tell,
    telling,
)
from v1registry.transfer.errors import TransferError

if TYPE_CHECKING:
    from v1registry.transfer.remote import Remote

_JOBS = 4
_INTERRUPTED = 130  # as a shell tells of Ctrl-C
# What OpenSSL says, by its version, when it is answered in plain text.
_NO_TLS = re.compile(r"wrong version number|record layer failure|http request|packet length")


@click.command("migrate")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="URL",
    help="The registry: https://host[:port], or http:// for one without TLS.",
)
@selecting
@click.option(
    "--from",
    "source",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration of the store, instead of the one in effect.",
)
@click.option("--flavor", help="Its flavor, instead of SETTINGS_FLAVOR or dev.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=_JOBS,
    show_default=True,
    help="Layers that are sent at once.",
)
@click.option("--dry-run", is_flag=True, help="Send nothing; tell what would be sent.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["docker", "oci"]),
    default="docker",
    show_default=True,
    help="The form of manifests: Docker's schema 2, or OCI's.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("v1registry-migrate.journal"),
    show_default=True,
    help="Where it is kept what is done, so that a stopped run goes on.",
)
@click.option("--no-journal", is_flag=True, help="Keep none.")
@click.option(
    "--creds",
    metavar="USER:PASSWORD",
    envvar="V1REGISTRY_MIGRATE_CREDS",
    help="Default: what `docker login` keeps for the host; or V1REGISTRY_MIGRATE_CREDS.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the registry may neither answer nor take anything.",
)
@click.option("--ca", type=click.Path(exists=True, path_type=Path), help="A PEM file to trust.")
@click.option("--insecure", is_flag=True, help="Do not verify the registry's certificate.")
@telling
def migrate(
    target: str,
    repositories: tuple[str, ...],
    tags: tuple[str, ...],
    names: tuple[str, ...],
    source: Path | None,
    flavor: str | None,
    jobs: int,
    dry_run: bool,
    form: str,
    journal: Path,
    no_journal: bool,
    creds: str | None,
    timeout: float,
    ca: Path | None,
    insecure: bool,
    as_json: bool,
    report_file: Path | None,
    quiet: bool,
) -> None:
    """Move images from the store to a v2 registry.

    Blobs and manifests that are there already are left out, and what was moved is read back.
    Safe beside running servers, and to be called again at any time.

    Exit status: 0 all moved, 1 nothing could be done, 2 wrong options, 3 some images could not be
    moved (the report says which and why), 130 stopped by Ctrl-C.
    """
    from v1registry.commands import bars
    from v1registry.lib.oci.convert import OCI, SCHEMA2
    from v1registry.transfer.journal import Journal
    from v1registry.transfer.migrate import Migration
    from v1registry.transfer.report import TransferReport

    with ended_well(), _stopping() as stop:
        selection = selection_of(repositories, tags, names)
        url = _url(target)
        remote = _remote(url, creds, ca, insecure, timeout, stop)
        parts = parts_of(source, flavor)
        _check(remote, target, url)
        report = TransferReport(url, dry_run)
        chosen = tagged(parts, selection, report)
        kept = Journal(None if no_journal or dry_run else journal, url)
        bar = bars.start(len(chosen), quiet=quiet)
        migration = Migration(
            parts.images,
            parts.v2.images,
            remote,
            kept,
            bar,
            report,
            media_type={"docker": SCHEMA2, "oci": OCI}[form],
            jobs=jobs,
            stop=stop,
        )
        try:
            migration.run(chosen)
        finally:
            bar.close()
            kept.close()
        tell(report, as_json, report_file)


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C and TERM set; a second one ends the process as ever."""
    from v1registry.transfer.http import Interrupted

    stop = threading.Event()

    def told(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except Interrupted:
        click.echo("v1registry: stopped; the same command goes on where it was", err=True)
        raise click.exceptions.Exit(_INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url(target: str) -> str:
    """The registry's address in one form, without a password. Raise TransferError."""
    from urllib.parse import urlsplit

    from v1registry.storage.origins import Insecure, origin

    if "@" in target:  # first, so that no message repeats the password
        raise TransferError("--to: give credentials by --creds or docker login, not in the URL")
    url = target if "://" in target else f"https://{target}"
    try:
        origin(url)
        parsed = urlsplit(url)
    except Insecure:
        raise TransferError(f"--to {target}: must be https://host[:port], or http://") from None
    if parsed.path.strip("/") or parsed.query or parsed.fragment:
        raise TransferError(
            f"--to {target}: must be https://host[:port] alone; --map renames repositories"
        )
    return f"{parsed.scheme}://{parsed.netloc}"


def _check(remote: Remote, target: str, url: str) -> None:
    """Raise TransferError unless a registry answers; say what to type if the scheme is wrong."""
    try:
        remote.check()
    except TransferError as error:
        host = url.partition("://")[2]
        if "://" not in target:
            hint = f"https is assumed; for a registry without TLS: --to http://{host}"
        elif url.startswith("https:") and _NO_TLS.search(str(error)):
            hint = f"for a registry without TLS: --to http://{host}"
        elif url.startswith("http:") and getattr(error, "status", 0) == 400:
            hint = f"for a registry with TLS: --to https://{host}"
        else:
            hint = ""
        raise TransferError(f"{url}: {error}" + (f" ({hint})" if hint else "")) from None


def _remote(
    url: str,
    creds: str | None,
    ca: Path | None,
    insecure: bool,
    timeout: float,
    stop: threading.Event,
) -> Remote:
    from v1registry.transfer import credentials
    from v1registry.transfer.http import Http
    from v1registry.transfer.remote import Remote

    host = url.partition("://")[2]
    account = (
        credentials.parse(creds)
        if creds
        else credentials.find(host, credentials.config_file(os.environ))
    )
    verify: bool | str = False if insecure else str(ca) if ca else True
    agent = f"v1registry/{__version__}"
    return Remote(Http(url, account, verify=verify, stop=stop, still=timeout, agent=agent))
