"""The options of the driver `local`, also called `file`."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "storage_path",
        "path",
        "The folder of the store. A relative path starts at the working directory. Use a"
        " persistent volume.",
        default="./data",
        variable="STORAGE_PATH",
        required=True,
    ),
    Option(
        "nginx_x_accel_redirect",
        "URL path",
        "The path of an `internal` location of nginx whose `alias` is the folder of the store."
        " nginx then sends the layers.",
        variable="NGINX_X_ACCEL_REDIRECT",
    ),
)
