"""Options that limit what a client can make the registry receive or compute."""

from __future__ import annotations

from v1registry.config.option import option, table


@table
class LimitOptions:
    """The group `limits`."""

    json: int = option("size", "4MiB", at_least=1024)
    """The largest request body other than a layer: image JSON, image list, tag."""

    body_seconds: int = option("duration", "1m", at_least=1)
    """The longest time to receive a request body other than a layer. After it, the client gets
    408."""

    layer: int = option("size", 0)
    """The largest layer; 0: no limit."""

    upload_seconds: int = option("duration", "1d")
    """The longest time to receive one layer; 0: no limit. The server checks it after each piece, or
    every 10 seconds."""

    files_bytes: int = option("size", "8GiB", at_least=1)
    """The most bytes of a layer that the registry decompresses: for `files` and `diff`, for the
    TarSum of engines before 0.10, and to compare a base image that the user who pushes it may not
    read. It also applies to v2, where a larger layer is decompressed if its plain tar is at most 20
    times its size."""

    files_entries: int = option("number", 200000, at_least=1)
    """The most entries of a layer that `files` and `diff` list."""
