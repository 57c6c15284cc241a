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
from v1registry.commands.transfer_options import (
    Output,
    build_services,
    output_options,
    selected_tags,
    selection_options,
)
from v1registry.transfer.errors import TransferError

if TYPE_CHECKING:
    from v1registry.transfer.remote import Remote
    from v1registry.transfer.selection import Selection

_JOBS = 4
_INTERRUPTED = 130  # the exit status of a shell for Ctrl-C
# Messages of different versions of OpenSSL when the peer answers in plain text.
_NO_TLS = re.compile(r"wrong version number|record layer failure|http request|packet length")


@click.command("migrate")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="URL",
    help="URL of the registry: https://host[:port], or http:// without TLS.",
)
@selection_options
@click.option(
    "--from",
    "source",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file of the store, instead of the one in effect.",
)
@click.option("--flavor", help="Flavor of that file, instead of SETTINGS_FLAVOR or dev.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=_JOBS,
    show_default=True,
    help="Number of layers to send at once.",
)
@click.option("--dry-run", is_flag=True, help="Send nothing; report what would be sent.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["docker", "oci"]),
    default="docker",
    show_default=True,
    help="Format of the manifests: Docker schema 2, or OCI.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("v1registry-migrate.journal"),
    show_default=True,
    help="File that notes finished work, so that a stopped run can resume.",
)
@click.option("--no-journal", is_flag=True, help="Keep no journal.")
@click.option(
    "--creds",
    metavar="USER:PASSWORD",
    envvar="V1REGISTRY_MIGRATE_CREDS",
    help="Default: V1REGISTRY_MIGRATE_CREDS, or the entry that `docker login` made for the host.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest time in which the registry neither answers nor accepts data.",
)
@click.option(
    "--ca",
    type=click.Path(exists=True, path_type=Path),
    help="PEM file of a certificate authority to trust.",
)
@click.option("--insecure", is_flag=True, help="Do not verify the registry's certificate.")
@output_options
def migrate(
    target: str,
    selection: Selection,
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
    output: Output,
) -> None:
    """Copy images from the store to a v2 registry.

    The command skips blobs and manifests that the registry has, and reads each manifest back.
    It is safe to run it beside running servers, and to run it again at any time.

    Exit status: 0 all images copied, 1 nothing could be done, 2 wrong options, 3 some images could
    not be copied (the report says which and why), 130 stopped by Ctrl-C.
    """
    from v1registry.lib.oci.convert import OCI, SCHEMA2
    from v1registry.transfer.journal import Journal
    from v1registry.transfer.migrate import Migration
    from v1registry.transfer.report import TransferReport

    with _stopping() as stop:
        url = _url(target)
        remote = _remote(url, creds, ca, insecure, timeout, stop)
        services = build_services(source, flavor)
        _check(remote, target, url)
        report = TransferReport(url, dry_run)
        chosen = selected_tags(services, selection, report)
        with (
            contextlib.closing(Journal(None if no_journal or dry_run else journal, url)) as kept,
            output.progress(len(chosen)) as report.progress,
        ):
            migration = Migration(
                services.images,
                services.v2.images,
                remote,
                kept,
                report,
                media_type={"docker": SCHEMA2, "oci": OCI}[form],
                jobs=jobs,
                stop=stop,
            )
            migration.run(chosen)
        output.report(report)


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C or TERM sets. The second one ends the process."""
    from v1registry.transfer.http import Interrupted

    stop = threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    except Interrupted:
        click.echo("v1registry: stopped; run the same command again to resume", err=True)
        raise click.exceptions.Exit(_INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url(target: str) -> str:
    """Return the registry's URL as scheme://host. Raise TransferError."""
    from v1registry.lib.repositories.selection import registry_url
    from v1registry.storage.origins import Insecure, origin

    try:
        url = registry_url(target)
        origin(url)
    except ValueError as error:
        raise TransferError(f"--to: {error}") from None
    except Insecure:
        raise TransferError(f"--to: {target}: must be https://host[:port], or http://") from None
    return url


def _check(remote: Remote, target: str, url: str) -> None:
    """Raise TransferError unless a registry answers; suggest an option if the scheme is wrong."""
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
