"""The storage drivers that this version has: a module each, with the driver's options.

A driver's options are data (see `Option`). Those of other packages' drivers: `plugins`.
"""

from __future__ import annotations

from collections.abc import Mapping

from v1registry.config.drivers import file, gcs, glance, s3, swift
from v1registry.config.options import Option

#: Names in `storage`, and the driver's options. `local` and `file` are one driver.
DRIVERS: Mapping[str, tuple[Option, ...]] = {
    "local": file.OPTIONS,
    "file": file.OPTIONS,
    "memory": (),
    "s3": s3.OPTIONS,
    "swift": swift.OPTIONS,
    "gcs": gcs.OPTIONS,
    "glance": glance.OPTIONS,
}

STORAGE = Option(
    "storage",
    "text",
    "The driver that keeps the bytes: `local` (or `file`) for a local folder; `s3` for a bucket;"
    " `swift` for a container of OpenStack's;"
    " `gcs` for one of Google Cloud Storage; `glance` for layers in OpenStack Glance;"
    " `memory` forgets everything at its end and is for tests. Or the name of another package's"
    " driver.",
    default="local",
    required=True,
)

#: Names, in the same flavor, the driver that keeps what the first one does not.
ALTERNATE = "storage_alternate"
