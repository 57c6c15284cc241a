"""The options of the driver `gcs`."""

from __future__ import annotations

from v1registry.config.option import option, table


@table
class GcsOptions:
    """The options of the driver `gcs`."""

    boto_bucket: str = option("text", "registry", variable="GCS_BUCKET", required=True)
    """The bucket. It must exist."""

    storage_path: str = option("path", "/registry")
    """The prefix of object names: `/registry` means `registry/`, `/` means none."""

    gcs_credentials: str | None = option("path")
    """The key file (JSON) of a service account. Default: `GOOGLE_APPLICATION_CREDENTIALS`, or the
    role of the machine or of the Kubernetes account. `anonymous`: no credentials."""

    gs_access_key: str | None = option("text", variable="GCS_KEY")
    """The access key of an HMAC pair, as docker-registry 0.x used it. With it, the driver uses the
    S3 protocol."""

    gs_secret_key: str | None = option("text", variable="GCS_SECRET", secret=True)
    """The secret of the HMAC pair."""

    gs_secure: bool = option("boolean", True, variable="GCS_SECURE")
    """Use TLS for the store. It can be switched off only with HMAC keys."""

    oauth2: bool = option("boolean", False, variable="GCS_OAUTH2")
    """`true`: ignore the HMAC keys and use `gcs_credentials`."""

    gcs_endpoint: str | None = option("text")
    """Another address of the store, such as `https://storage-europe-west1.p.googleapis.com`."""

    gcs_storage_class: str | None = option("text")
    """The storage class of layers, such as `NEARLINE`. Default: the bucket's."""

    gcs_chunk_size: int = option("size", "8MiB", at_least=5 * 1024 * 1024)
    """The size of the chunks in which layers are uploaded. With HMAC keys, a layer has at most
    10000 chunks."""

    gcs_upload_memory: int = option("size", "64MiB", at_least=10 * 1024 * 1024)
    """The memory of each process for chunks of all running uploads. Chunks beyond this size are
    kept in temporary files (`TMPDIR`), one for each upload."""

    gcs_conditional_writes: bool = option("boolean", True)
    """Whether the store refuses to create an object twice, as Google does; the server checks this
    at start. Set `false` for an emulator: of two first pushes of one image at the same time, the
    registry then finds the winner by reading the object back."""

    gcs_read_timeout: int = option("duration", "30s", at_least=1)
    """The longest time to wait for data from the store. The driver retries refused and failed
    requests for up to ten seconds."""
