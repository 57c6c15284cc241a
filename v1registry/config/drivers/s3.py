"""The options of the driver `s3`."""

from __future__ import annotations

from v1registry.config.options import Option

#: How to get to a store that is somewhere else; 0.x's names, which other drivers have, too.
PROXY: tuple[Option, ...] = (
    Option("boto_proxy", "text", "The host of an HTTP proxy on the way to the store."),
    Option("boto_proxy_port", "number", "Its port.", at_least=1),
    Option("boto_proxy_user", "text", "The account there."),
    Option("boto_proxy_pass", "text", "Its password.", secret=True),
)

OPTIONS: tuple[Option, ...] = (
    Option(
        "boto_bucket",
        "text",
        "The bucket. It must exist. Read as `s3_bucket`, its name up to 0.6, where it is missing.",
        default="registry",
        variable="AWS_BUCKET",
        required=True,
        formerly="s3_bucket",
    ),
    Option(
        "storage_path",
        "path",
        "What keys begin with: `/registry` stands for `registry/`, `/` for nothing. The flavor"
        " `prod` says `/prod`.",
        default="/registry",
        variable="STORAGE_PATH",
    ),
    Option(
        "s3_access_key",
        "text",
        "The access key. Without: the role of the machine, or what else boto3 finds.",
        variable="AWS_KEY",
    ),
    Option("s3_secret_key", "text", "Its secret.", variable="AWS_SECRET", secret=True),
    Option("s3_region", "text", "The bucket's region.", variable="AWS_REGION"),
    Option(
        "s3_secure", "boolean", "Speak TLS with the store.", default=True, variable="AWS_SECURE"
    ),
    Option(
        "s3_encrypt",
        "boolean",
        "Let the store encrypt what it keeps, with keys of its own (SSE-S3).",
        default=True,
        variable="AWS_ENCRYPT",
    ),
    Option(
        "s3_use_sigv4",
        "boolean",
        "`false`: sign in the older way, for a gateway (`boto_host`) that knows no other.",
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
        "Layers are sent in parts of this size, at most 10000 of them.",
        default="8MiB",
        variable="AWS_PART_SIZE",
        at_least=5 * 1024 * 1024,
    ),
    Option(
        "s3_upload_memory",
        "size",
        "What a process keeps in memory of all layers that come in. Parts for which there is no room lie"
        " in temporary files (`TMPDIR`), one an upload.",
        default="64MiB",
        variable="AWS_UPLOAD_MEMORY",
        at_least=10 * 1024 * 1024,
    ),
    Option(
        "s3_conditional_writes",
        "boolean",
        "Whether the store keeps to `If-None-Match: *`, as AWS and Ceph do; checked at start."
        " `false`: two first pushes of one image in the same instant are settled by reading back, and"
        " layers are copied by the store.",
        default=True,
        variable="AWS_CONDITIONAL_WRITES",
    ),
    Option(
        "s3_etag_is_md5",
        "boolean",
        "Whether the ETag of an object that was put as a whole is its MD5, as with AWS, Ceph and most"
        " others; small objects are held against it.",
        default=True,
        variable="AWS_ETAG_IS_MD5",
    ),
    Option(
        "s3_read_timeout",
        "duration",
        "How long the store may keep silent. Requests that it refuses for the moment, or that do"
        " not reach it, are tried three times.",
        default="30s",
        variable="AWS_READ_TIMEOUT",
        at_least=1,
    ),
    Option(
        "boto_host",
        "text",
        "The host of the store, where it is not AWS.",
        variable="AWS_HOST",
    ),
    Option(
        "boto_port", "number", "Its port, if it is no usual one.", variable="AWS_PORT", at_least=1
    ),
    Option(
        "boto_calling_format",
        "addressing",
        "`path`, or `virtual`: the bucket as part of the host's name. 0.x's names of classes are"
        " understood. Default: `virtual` for AWS, `path` with `boto_host`.",
        variable="AWS_CALLING_FORMAT",
    ),
    *PROXY,
    Option(
        "cloudfront.base",
        "URL",
        "`storage_redirect` sends clients to this CloudFront distribution, whose origin is the bucket,"
        " by URLs that count for 60 seconds. The other two must be set, too.",
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
        "Its private key: an RSA key, not encrypted.",
        variable="CF_KEYSECRET",
        secret=True,
    ),
)
