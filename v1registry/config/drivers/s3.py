"""The options of the driver `s3`."""

from __future__ import annotations

from v1registry.config.option import group, option, table


@table
class ProxyOptions:
    """Options for a proxy, with the names of docker-registry 0.x. The driver `gcs` has them too."""

    boto_proxy: str | None = option("text", variable=None)
    """The host of an HTTP proxy between the registry and the store."""

    boto_proxy_port: int | None = option("number", variable=None, at_least=1)
    """The port of the proxy."""

    boto_proxy_user: str | None = option("text", variable=None)
    """The user name for the proxy."""

    boto_proxy_pass: str | None = option("text", variable=None, secret=True)
    """The password for the proxy."""


@table
class CloudFrontOptions:
    """The group `cloudfront`: all three options, or none."""

    base: str | None = option("URL", variable="CF_BASE_URL")
    """The URL of a CloudFront distribution whose origin is the bucket. `storage_redirect` redirects
    clients there, by URLs that are valid for 60 seconds. Requires the other two options."""

    keyid: str | None = option("text", variable="CF_KEYID")
    """The id of the key pair, or of the public key, that the distribution trusts."""

    keysecret: str | None = option("PEM", variable="CF_KEYSECRET", secret=True)
    """The private key: an RSA key that is not encrypted."""


@table
class S3Options:
    """The options of the driver `s3`."""

    boto_bucket: str = option(
        "text", "registry", variable="AWS_BUCKET", required=True, formerly="s3_bucket"
    )
    """The bucket. It must exist. If this option is missing, `s3_bucket` is used, its name in
    docker-registry up to 0.6."""

    storage_path: str = option("path", "/registry")
    """The prefix of keys: `/registry` means `registry/`, `/` means none. The flavor `prod` sets
    `/prod`."""

    s3_access_key: str | None = option("text", variable="AWS_KEY")
    """The access key. Default: the role of the machine, or another source of credentials that boto3
    knows."""

    s3_secret_key: str | None = option("text", variable="AWS_SECRET", secret=True)
    """The secret of the access key."""

    s3_region: str | None = option("text", variable="AWS_REGION")
    """The bucket's region."""

    s3_secure: bool = option("boolean", True, variable="AWS_SECURE")
    """Use TLS for the store."""

    s3_encrypt: bool = option("boolean", True, variable="AWS_ENCRYPT")
    """Let the store encrypt objects with keys of its own (SSE-S3)."""

    s3_use_sigv4: bool = option("boolean", True, variable="AWS_USE_SIGV4")
    """`false`: sign requests by version 2, for a gateway (`boto_host`) that does not support
    version 4."""

    s3_storage_class: str | None = option("text", variable="AWS_STORAGE_CLASS")
    """The storage class of layers, such as `STANDARD_IA`. Default: the bucket's."""

    s3_part_size: int = option("size", "8MiB", variable="AWS_PART_SIZE", at_least=5 * 1024 * 1024)
    """The size of the parts in which layers are uploaded. A layer has at most 10000 parts."""

    s3_upload_memory: int = option(
        "size", "64MiB", variable="AWS_UPLOAD_MEMORY", at_least=10 * 1024 * 1024
    )
    """The memory of each process for parts of all running uploads. Parts beyond this size are kept
    in temporary files (`TMPDIR`), one for each upload."""

    s3_conditional_writes: bool = option("boolean", True, variable="AWS_CONDITIONAL_WRITES")
    """Whether the store supports `If-None-Match: *`, as AWS and Ceph do; the server checks this at
    start. `false`: of two first pushes of one image at the same time, the registry finds the winner
    by reading the object back, and the store copies the layers."""

    s3_etag_is_md5: bool = option("boolean", True, variable="AWS_ETAG_IS_MD5")
    """Whether the ETag of an object that was uploaded in one request is its MD5, as with AWS, Ceph
    and most others. The driver then verifies small objects by it."""

    s3_read_timeout: int = option("duration", "30s", variable="AWS_READ_TIMEOUT", at_least=1)
    """The longest time to wait for data from the store. The driver sends refused and failed
    requests up to three times."""

    boto_host: str | None = option("text", variable="AWS_HOST")
    """The host of a store other than AWS."""

    boto_port: int | None = option("number", variable="AWS_PORT", at_least=1)
    """The port of that host. Default: the usual port."""

    boto_calling_format: str | None = option("addressing", variable="AWS_CALLING_FORMAT")
    """`path`, or `virtual`: the bucket is part of the host name. The class names of docker-registry
    0.x are accepted too. Default: `virtual` for AWS, `path` with `boto_host`."""

    cloudfront: CloudFrontOptions = group(CloudFrontOptions)
