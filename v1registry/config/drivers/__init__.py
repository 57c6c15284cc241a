"""The options of the storage drivers, one module a driver.

The options are plain data (see `Option`). Module `plugins` reads those of other packages' drivers.
"""

from __future__ import annotations

from collections.abc import Mapping

from v1registry.config.drivers.gcs import GcsOptions
from v1registry.config.drivers.glance import GlanceOptions
from v1registry.config.drivers.local import LocalOptions
from v1registry.config.drivers.s3 import ProxyOptions, S3Options
from v1registry.config.drivers.swift import SwiftOptions
from v1registry.config.option import Option, options_of

#: The tables of each driver, by its name in `storage`. `local` and `file` are one driver.
TABLES: Mapping[str, tuple[type, ...]] = {
    "local": (LocalOptions,),
    "file": (LocalOptions,),
    "memory": (),
    "s3": (S3Options, ProxyOptions),
    "swift": (SwiftOptions,),
    "gcs": (GcsOptions, ProxyOptions),
    "glance": (GlanceOptions,),
}

#: The options of each driver.
DRIVERS: Mapping[str, tuple[Option, ...]] = {
    name: tuple(options_of(*tables)) for name, tables in TABLES.items()
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
