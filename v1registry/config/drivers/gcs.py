"""The options of the driver `gcs`."""

from __future__ import annotations

from v1registry.config.drivers.s3 import PROXY
from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "boto_bucket",
        "text",
        "The bucket. It must exist.",
        default="registry",
        variable="GCS_BUCKET",
        required=True,
    ),
    Option(
        "storage_path",
        "path",
        "What names begin with: `/registry` stands for `registry/`, `/` for nothing.",
        default="/registry",
        variable="STORAGE_PATH",
    ),
    Option(
        "gcs_credentials",
        "path",
        "The key file (JSON) of a service account. Without: `GOOGLE_APPLICATION_CREDENTIALS`, the"
        " role of the machine or of the Kubernetes account. `anonymous`: none at all.",
        variable="GCS_CREDENTIALS",
    ),
    Option(
        "gs_access_key",
        "text",
        "The access key of an HMAC pair, which 0.x had: the store is then spoken to as S3 is.",
        variable="GCS_KEY",
    ),
    Option("gs_secret_key", "text", "Its secret.", variable="GCS_SECRET", secret=True),
    Option(
        "gs_secure",
        "boolean",
        "Speak TLS with the store; with HMAC keys alone it can be switched off.",
        default=True,
        variable="GCS_SECURE",
    ),
    Option(
        "oauth2",
        "boolean",
        "`true`: leave the HMAC keys aside and use what `gcs_credentials` says.",
        default=False,
        variable="GCS_OAUTH2",
    ),
    Option(
        "gcs_endpoint",
        "text",
        "The address of the store, where it is another, such as"
        " `https://storage-europe-west1.p.googleapis.com`.",
        variable="GCS_ENDPOINT",
    ),
    Option(
        "gcs_storage_class",
        "text",
        "The storage class of layers, such as `NEARLINE`. Default: the bucket's.",
        variable="GCS_STORAGE_CLASS",
    ),
    Option(
        "gcs_chunk_size",
        "size",
        "Layers are sent in chunks of this size, with HMAC keys at most 10000 of them.",
        default="8MiB",
        variable="GCS_CHUNK_SIZE",
        at_least=5 * 1024 * 1024,
    ),
    Option(
        "gcs_upload_memory",
        "size",
        "What a process keeps in memory of all layers that come in. Chunks for which there is no room"
        " lie in temporary files (`TMPDIR`), one an upload.",
        default="64MiB",
        variable="GCS_UPLOAD_MEMORY",
        at_least=10 * 1024 * 1024,
    ),
    Option(
        "gcs_conditional_writes",
        "boolean",
        "Whether the store refuses to create an object twice, as Google does; checked at start."
        " `false`, for an emulator: two first pushes of one image in the same instant are settled"
        " by reading back.",
        default=True,
        variable="GCS_CONDITIONAL_WRITES",
    ),
    Option(
        "gcs_read_timeout",
        "duration",
        "How long the store may keep silent. Requests that it refuses for the moment, or that do"
        " not reach it, are tried a few times within ten seconds.",
        default="30s",
        variable="GCS_READ_TIMEOUT",
        at_least=1,
    ),
    *PROXY,
)
