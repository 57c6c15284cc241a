"""The options of the storage drivers, one module a driver.

The options are plain data (see `Option`). Module `plugins` reads those of other packages' drivers.
"""

from __future__ import annotations

from collections.abc import Mapping

from v1registry.config.drivers import file, gcs, glance, s3, swift
from v1registry.config.options import Option

#: The options of each driver, by its name in `storage`. `local` and `file` are one driver.
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
    "The driver of the store: `local` (or `file`) for a local folder; `s3` for an S3 bucket;"
    " `swift` for a container of OpenStack Swift; `gcs` for a bucket of Google Cloud Storage;"
    " `glance` for layers in OpenStack Glance; `memory` for tests, which loses everything when"
    " the process ends. Or the name of another package's driver.",
    default="local",
    required=True,
)

#: The option that names a second driver, for the objects that the first one does not keep.
ALTERNATE = "storage_alternate"
