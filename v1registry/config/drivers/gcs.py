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
        "The prefix of object names: `/registry` means `registry/`, `/` means none.",
        default="/registry",
        variable="STORAGE_PATH",
    ),
    Option(
        "gcs_credentials",
        "path",
        "The key file (JSON) of a service account. Default: `GOOGLE_APPLICATION_CREDENTIALS`, or"
        " the role of the machine or of the Kubernetes account. `anonymous`: no credentials.",
        variable="GCS_CREDENTIALS",
    ),
    Option(
        "gs_access_key",
        "text",
        "The access key of an HMAC pair, as docker-registry 0.x used it. With it, the driver uses"
        " the S3 protocol.",
        variable="GCS_KEY",
    ),
    Option(
        "gs_secret_key", "text", "The secret of the HMAC pair.", variable="GCS_SECRET", secret=True
    ),
    Option(
        "gs_secure",
        "boolean",
        "Use TLS for the store. It can be switched off only with HMAC keys.",
        default=True,
        variable="GCS_SECURE",
    ),
    Option(
        "oauth2",
        "boolean",
        "`true`: ignore the HMAC keys and use `gcs_credentials`.",
        default=False,
        variable="GCS_OAUTH2",
    ),
    Option(
        "gcs_endpoint",
        "text",
        "Another address of the store, such as `https://storage-europe-west1.p.googleapis.com`.",
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
        "The size of the chunks in which layers are uploaded. With HMAC keys, a layer has at most"
        " 10000 chunks.",
        default="8MiB",
        variable="GCS_CHUNK_SIZE",
        at_least=5 * 1024 * 1024,
    ),
    Option(
        "gcs_upload_memory",
        "size",
        "The memory of each process for chunks of all running uploads. Chunks beyond this size"
        " are kept in temporary files (`TMPDIR`), one for each upload.",
        default="64MiB",
        variable="GCS_UPLOAD_MEMORY",
        at_least=10 * 1024 * 1024,
    ),
    Option(
        "gcs_conditional_writes",
        "boolean",
        "Whether the store refuses to create an object twice, as Google does; the server checks"
        " this at start. Set `false` for an emulator: of two first pushes of one image at the same"
        " time, the registry then finds the winner by reading the object back.",
        default=True,
        variable="GCS_CONDITIONAL_WRITES",
    ),
    Option(
        "gcs_read_timeout",
        "duration",
        "The longest time to wait for data from the store. The driver retries refused and failed"
        " requests for up to ten seconds.",
        default="30s",
        variable="GCS_READ_TIMEOUT",
        at_least=1,
    ),
    *PROXY,
)
