"""The commands `export` and `import`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
    from v1registry.api.services import RegistryServices
    from v1registry.transfer.report import TransferReport


_ARCHIVE = re.compile(r"\.(tgz|tbz2?|txz|tzst|zip|tar\.[a-z0-9]+)$", re.IGNORECASE)


@click.command("export")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["oci", "docker"]),
    help="oci: a layout in the folder PATH. docker: an archive for `docker load` of any age. "
    "Default: docker if PATH ends with .tar or is - (standard output), else oci.",
)
@selecting
@telling
def export(
    path: Path,
    form: str | None,
    repositories: tuple[str, ...],
    tags: tuple[str, ...],
    names: tuple[str, ...],
    as_json: bool,
    report_file: Path | None,
    quiet: bool,
) -> None:
    """Write images of the store to PATH.

    A layout that is there is added to. Exit status as for `migrate`.
    """
    from v1registry.commands import bars
    from v1registry.transfer.export import export as run
    from v1registry.transfer.report import TransferReport

    with ended_well():
        form = _chosen_form(form, path)
        selection = selection_of(repositories, tags, names)
        parts = parts_of(None, None)
        report = TransferReport(str(path), done="exported")
        chosen = tagged(parts, selection, report)
        bar = bars.start(len(chosen), quiet=quiet)
        try:
            with _form(form, path, parts, bar, report) as written:
                run(chosen, parts.v2.images, written, bar, report)
        finally:
            bar.close()
        tell(report, as_json, report_file, to_error=str(path) == "-")


@click.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--repository", metavar="NAME", help="The repository of images that have no whole name."
)
@click.option(
    "--platform",
    default="linux/amd64",
    show_default=True,
    metavar="OS/ARCH[/VARIANT]",
    help="Which of the images for several platforms.",
)
@selecting
@telling
def import_(
    path: Path,
    repository: str | None,
    platform: str,
    repositories: tuple[str, ...],
    tags: tuple[str, ...],
    names: tuple[str, ...],
    as_json: bool,
    report_file: Path | None,
    quiet: bool,
) -> None:
    """Put images from PATH into the store, where old engines pull them.

    PATH is an archive of `docker save` (of any age), or an OCI layout as a folder or tar archive.
    Archives may be compressed with gzip, bzip2, xz or zstd. Images with v1
    ids keep them; others get those that engines from 1.10 on would give them. Exit status as for
    `migrate`.
    """
    from v1registry.api.v1 import image_lists
    from v1registry.commands import bars
    from v1registry.transfer import bundles, naming
    from v1registry.transfer.importing import Importer
    from v1registry.transfer.report import TransferReport

    with ended_well():
        selection = selection_of(repositories, tags, names)
        parts = parts_of(None, None, begins=True)
        if parts.config.read_only:
            raise TransferError("read_only is set: nothing is imported")
        report = TransferReport(str(path), done="imported")
        limit = parts.config.limits.files_bytes
        with bundles.opened(path, platform, limit) as bundle:
            chosen = naming.wanted(bundle, selection, repository)
            bar = bars.start(len(chosen), quiet=quiet)
            importer = Importer(
                parts.images,
                parts.uploads,
                parts.image_lists,
                parts.repositories,
                bar,
                report,
                max_bytes=limit,
                begin=partial(image_lists.begin_push, parts),
            )
            try:
                importer.run(bundle, chosen)
            finally:
                bar.close()
        tell(report, as_json, report_file)


def _chosen_form(form: str | None, path: Path) -> str:
    """The form that is meant: a name of an archive never becomes a folder unless that is said."""
    if form == "oci" and str(path) == "-":
        raise TransferError("standard output takes an archive: --format docker")
    if form is not None:
        return form
    if str(path) == "-" or (path.suffix == ".tar" and not path.is_dir()):
        return "docker"
    if not path.is_dir() and _ARCHIVE.search(path.name):
        raise TransferError(
            f"{path}: give a name that ends with .tar for an archive, which is written without"
            " compression, or --format oci for a folder"
        )
    return "oci"


@contextlib.contextmanager
def _form(
    form: str, path: Path, parts: RegistryServices, bar: Any, report: TransferReport
) -> Iterator[Any]:
    """Where an export is written. An archive is not seen under its name before it is whole."""
    from v1registry.transfer.export import ArchiveExport, LayoutExport
    from v1registry.transfer.layout import LayoutWriter
    from v1registry.transfer.tarball import Writer

    if form == "oci":
        yield LayoutExport(LayoutWriter(path), parts.images, bar, report)
        return
    if str(path) == "-":
        yield ArchiveExport(Writer(sys.stdout.buffer), parts.images, bar, report)
        sys.stdout.buffer.flush()
        return
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as out:
            yield ArchiveExport(Writer(out), parts.images, bar, report)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except OSError as error:
        raise TransferError(f"{path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
