"""What a client may make us receive or compute."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "limits.json",
        "size",
        "The largest body that is not a layer: image JSON, image list, tag.",
        default="4MiB",
        variable="LIMITS_JSON",
        at_least=1024,
    ),
    Option(
        "limits.body_seconds",
        "duration",
        "The whole time that sending a body that is not a layer may take, before the answer is 408.",
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
        "The whole time that sending one layer may take; 0: no limit. Looked at when a piece"
        " is complete, or every 10 seconds.",
        default="1d",
        variable="LIMITS_UPLOAD_SECONDS",
    ),
    Option(
        "limits.files_bytes",
        "size",
        "How much of a layer is decompressed at most for `files` and `diff`, for the TarSum of"
        " engines before 0.10, and to compare a base image that is hidden from its pusher; for v2"
        " as well, where a layer may hold more if that is no more than 20 times its size.",
        default="8GiB",
        variable="LIMITS_FILES_BYTES",
        at_least=1,
    ),
    Option(
        "limits.files_entries",
        "number",
        "How many entries of a layer are listed at most in `files` and `diff`.",
        default=200000,
        variable="LIMITS_FILES_ENTRIES",
        at_least=1,
    ),
)
