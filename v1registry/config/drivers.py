"""The storage drivers that this version has, with the options of each.

A driver's options are data (see `Option`), so that a driver can come to declare them itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from v1registry.config.options import Option

FILE: tuple[Option, ...] = (
    Option(
        "storage_path",
        "path",
        "The folder of the store; relative to the working directory. Put it on a volume that"
        " lasts.",
        default="/tmp/registry",
        variable="STORAGE_PATH",
        required=True,
    ),
    Option(
        "nginx_x_accel_redirect",
        "URL path",
        "nginx sends the layers: the path of its `internal` location whose `alias` is the store.",
        variable="NGINX_X_ACCEL_REDIRECT",
    ),
)

#: Names in `storage`, and the driver's options. `local` and `file` are one driver.
DRIVERS: Mapping[str, tuple[Option, ...]] = {"local": FILE, "file": FILE, "memory": ()}

STORAGE = Option(
    "storage",
    "text",
    "The driver that keeps the bytes: `local` (or `file`) for a local folder; `memory` forgets"
    " everything at its end and is for tests.",
    default="local",
    required=True,
)
