"""The options of the driver `local`, also called `file`."""

from __future__ import annotations

from v1registry.config.option import option, table


@table
class LocalOptions:
    """The options of the driver `file`."""

    storage_path: str = option("path", "./data", required=True)
    """The folder of the store. A relative path starts at the working directory. Use a persistent
    volume."""

    nginx_x_accel_redirect: str | None = option("URL path")
    """The path of an `internal` location of nginx whose `alias` is the folder of the store. nginx
    then sends the layers."""
