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

from v1registry.commands.transfer_options import (
    Output,
    build_services,
    output_options,
    selected_tags,
    selection_options,
)
from v1registry.transfer.errors import TransferError

if TYPE_CHECKING:
    from v1registry.api.services import RegistryServices
    from v1registry.transfer.export import Export
    from v1registry.transfer.report import TransferReport
    from v1registry.transfer.selection import Selection

_ARCHIVE = re.compile(r"\.(tgz|tbz2?|txz|tzst|zip|tar\.[a-z0-9]+)$", re.IGNORECASE)


@click.command("export")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["oci", "docker"]),
    help="oci: an OCI layout in the folder PATH. docker: an archive for `docker load` of any version."
    " Default: docker if PATH ends with .tar or is - (standard output), else oci.",
)
@selection_options
@output_options
def export(path: Path, form: str | None, selection: Selection, output: Output) -> None:
    """Write images of the store to PATH.

    The command adds images to an existing layout. Exit status as for `migrate`.
    """
    from v1registry.transfer.report import TransferReport

    form = _format_name(form, path)
    services = build_services()
    report = TransferReport(str(path), done="exported")
    chosen = selected_tags(services, selection, report)
    with (
        output.progress(len(chosen)) as report.progress,
        _opened_format(form, path, services, report) as archive,
    ):
        archive.run(chosen)
    output.report(report, to_error=str(path) == "-")


@click.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--repository", metavar="NAME", help="Repository for images without a complete name.")
@click.option(
    "--platform",
    default="linux/amd64",
    show_default=True,
    metavar="OS/ARCH[/VARIANT]",
    help="Platform to choose if there are images for several.",
)
@selection_options
@output_options
def import_(
    path: Path, repository: str | None, platform: str, selection: Selection, output: Output
) -> None:
    """Copy images from PATH to the store, so that v1 clients can pull them.

    PATH is an archive of `docker save` (any version), or an OCI layout as a folder or tar archive.
    Archives may be compressed with gzip, bzip2, xz or zstd. Images with v1 ids keep them. Others
    get the ids that Docker 1.10 and later compute for them. Exit status as for `migrate`.
    """
    from v1registry.api.v1 import image_lists
    from v1registry.transfer import bundles
    from v1registry.transfer.importing import Importer
    from v1registry.transfer.report import TransferReport
    from v1registry.transfer.selection import selected_images

    services = build_services(begins=True)
    if services.config.read_only:
        raise TransferError("read_only is set: nothing is imported")
    services.read_only_switch.require_off()
    report = TransferReport(str(path), done="imported")
    limit = services.config.limits.files_bytes
    with bundles.opened(path, platform, limit) as bundle:
        chosen = selected_images(bundle, selection, repository)
        with output.progress(len(chosen)) as report.progress:
            importer = Importer(
                services.images,
                services.uploads,
                services.image_lists,
                services.repositories,
                report,
                max_bytes=limit,
                begin=partial(image_lists.begin_push, services),
            )
            importer.run(bundle, chosen)
    output.report(report)


def _format_name(form: str | None, path: Path) -> str:
    """Return the format to write.

    Without --format, a path that looks like an archive never becomes a folder. Raise TransferError.
    """
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
def _opened_format(
    form: str, path: Path, services: RegistryServices, report: TransferReport
) -> Iterator[Export[Any]]:
    """Yield the format to write to. An archive gets its name only when it is complete."""
    from v1registry.transfer.export import ArchiveExport, LayoutExport
    from v1registry.transfer.layout import LayoutWriter
    from v1registry.transfer.tarball import Writer

    output = services.images, services.v2.images, report
    if form == "oci":
        yield LayoutExport(LayoutWriter(path), *output)
        return
    if str(path) == "-":
        yield ArchiveExport(Writer(sys.stdout.buffer), *output)
        sys.stdout.buffer.flush()
        return
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as out:
            yield ArchiveExport(Writer(out), *output)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except OSError as error:
        raise TransferError(f"{path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
