"""The options of the driver `s3`."""

from __future__ import annotations

from v1registry.config.options import Option

#: Options for a proxy, with the names of docker-registry 0.x. The driver `gcs` has them too.
PROXY: tuple[Option, ...] = (
    Option("boto_proxy", "text", "The host of an HTTP proxy between the registry and the store."),
    Option("boto_proxy_port", "number", "The port of the proxy.", at_least=1),
    Option("boto_proxy_user", "text", "The user name for the proxy."),
    Option("boto_proxy_pass", "text", "The password for the proxy.", secret=True),
)

OPTIONS: tuple[Option, ...] = (
    Option(
        "boto_bucket",
        "text",
        "The bucket. It must exist. If this option is missing, `s3_bucket` is used, its name in"
        " docker-registry up to 0.6.",
        default="registry",
        variable="AWS_BUCKET",
        required=True,
        formerly="s3_bucket",
    ),
    Option(
        "storage_path",
        "path",
        "The prefix of keys: `/registry` means `registry/`, `/` means none. The flavor `prod`"
        " sets `/prod`.",
        default="/registry",
        variable="STORAGE_PATH",
    ),
    Option(
        "s3_access_key",
        "text",
        "The access key. Default: the role of the machine, or another source of credentials that"
        " boto3 knows.",
        variable="AWS_KEY",
    ),
    Option(
        "s3_secret_key", "text", "The secret of the access key.", variable="AWS_SECRET", secret=True
    ),
    Option("s3_region", "text", "The bucket's region.", variable="AWS_REGION"),
    Option("s3_secure", "boolean", "Use TLS for the store.", default=True, variable="AWS_SECURE"),
    Option(
        "s3_encrypt",
        "boolean",
        "Let the store encrypt objects with keys of its own (SSE-S3).",
        default=True,
        variable="AWS_ENCRYPT",
    ),
    Option(
        "s3_use_sigv4",
        "boolean",
        "`false`: sign requests by version 2, for a gateway (`boto_host`) that does not support"
        " version 4.",
        default=True,
        variable="AWS_USE_SIGV4",
    ),
    Option(
        "s3_storage_class",
        "text",
        "The storage class of layers, such as `STANDARD_IA`. Default: the bucket's.",
        variable="AWS_STORAGE_CLASS",
    ),
    Option(
        "s3_part_size",
        "size",
        "The size of the parts in which layers are uploaded. A layer has at most 10000 parts.",
        default="8MiB",
        variable="AWS_PART_SIZE",
        at_least=5 * 1024 * 1024,
    ),
    Option(
        "s3_upload_memory",
        "size",
        "The memory of each process for parts of all running uploads. Parts beyond this size are"
        " kept in temporary files (`TMPDIR`), one for each upload.",
        default="64MiB",
        variable="AWS_UPLOAD_MEMORY",
        at_least=10 * 1024 * 1024,
    ),
    Option(
        "s3_conditional_writes",
        "boolean",
        "Whether the store supports `If-None-Match: *`, as AWS and Ceph do; the server checks"
        " this at start. `false`: of two first pushes of one image at the same time, the registry"
        " finds the winner by reading the object back, and the store copies the layers.",
        default=True,
        variable="AWS_CONDITIONAL_WRITES",
    ),
    Option(
        "s3_etag_is_md5",
        "boolean",
        "Whether the ETag of an object that was uploaded in one request is its MD5, as with AWS,"
        " Ceph and most others. The driver then verifies small objects by it.",
        default=True,
        variable="AWS_ETAG_IS_MD5",
    ),
    Option(
        "s3_read_timeout",
        "duration",
        "The longest time to wait for data from the store. The driver sends refused and failed"
        " requests up to three times.",
        default="30s",
        variable="AWS_READ_TIMEOUT",
        at_least=1,
    ),
    Option(
        "boto_host",
        "text",
        "The host of a store other than AWS.",
        variable="AWS_HOST",
    ),
    Option(
        "boto_port",
        "number",
        "The port of that host. Default: the usual port.",
        variable="AWS_PORT",
        at_least=1,
    ),
    Option(
        "boto_calling_format",
        "addressing",
        "`path`, or `virtual`: the bucket is part of the host name. The class names of"
        " docker-registry 0.x are accepted too. Default: `virtual` for AWS, `path` with"
        " `boto_host`.",
        variable="AWS_CALLING_FORMAT",
    ),
    *PROXY,
    Option(
        "cloudfront.base",
        "URL",
        "The URL of a CloudFront distribution whose origin is the bucket. `storage_redirect`"
        " redirects clients there, by URLs that are valid for 60 seconds. Requires the other two"
        " options.",
        variable="CF_BASE_URL",
    ),
    Option(
        "cloudfront.keyid",
        "text",
        "The id of the key pair, or of the public key, that the distribution trusts.",
        variable="CF_KEYID",
    ),
    Option(
        "cloudfront.keysecret",
        "PEM",
        "The private key: an RSA key that is not encrypted.",
        variable="CF_KEYSECRET",
        secret=True,
    ),
)
