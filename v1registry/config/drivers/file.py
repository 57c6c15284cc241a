"""The options of the driver `local`, also called `file`."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "storage_path",
        "path",
        "The folder of the store; relative to the working directory. Put it on a volume that"
        " lasts.",
        default="./data",
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
