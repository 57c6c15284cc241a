"""Options that limit what a client can make the registry receive or compute."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "limits.json",
        "size",
        "The largest request body other than a layer: image JSON, image list, tag.",
        default="4MiB",
        variable="LIMITS_JSON",
        at_least=1024,
    ),
    Option(
        "limits.body_seconds",
        "duration",
        "The longest time to receive a request body other than a layer. After it, the client gets"
        " 408.",
        default="1m",
        variable="LIMITS_BODY_SECONDS",
        at_least=1,
    ),
    Option(
        "limits.layer",
        "size",
        "The largest layer; 0: no limit.",
        default=0,
        variable="LIMITS_LAYER",
    ),
    Option(
        "limits.upload_seconds",
        "duration",
        "The longest time to receive one layer; 0: no limit. The server checks it after each"
        " piece, or every 10 seconds.",
        default="1d",
        variable="LIMITS_UPLOAD_SECONDS",
    ),
    Option(
        "limits.files_bytes",
        "size",
        "The most bytes of a layer that the registry decompresses: for `files` and `diff`, for"
        " the TarSum of engines before 0.10, and to compare a base image that the user who pushes"
        " it may not read. It also applies to v2, where a larger layer is decompressed if its"
        " plain tar is at most 20 times its size.",
        default="8GiB",
        variable="LIMITS_FILES_BYTES",
        at_least=1,
    ),
    Option(
        "limits.files_entries",
        "number",
        "The most entries of a layer that `files` and `diff` list.",
        default=200000,
        variable="LIMITS_FILES_ENTRIES",
        at_least=1,
    ),
)
