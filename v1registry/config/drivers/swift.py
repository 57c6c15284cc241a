"""The options of the driver `swift`."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "swift_authurl",
        "text",
        "The address that issues tokens: Keystone's `https://keystone.example:5000/v3`, or"
        " Swift's own `https://swift.example/auth/v1.0`.",
        default="https://keystone.example:5000/v3",
        variable="OS_AUTH_URL",
        required=True,
    ),
    Option(
        "swift_auth_version",
        "auth version",
        "The version of authentication: 1 (Swift's own), 2 or 3 (Keystone's). Default: the"
        " version at the end of the URL, else 3.",
        variable="OS_IDENTITY_API_VERSION",
    ),
    Option(
        "swift_container",
        "text",
        "The container. It must exist.",
        default="registry",
        variable="OS_CONTAINER",
        required=True,
    ),
    Option(
        "storage_path",
        "path",
        "The prefix of object names: `/registry` means `registry/`. With `/`, names begin with a"
        " slash, as in docker-registry 0.x.",
        default="/registry",
        variable="STORAGE_PATH",
    ),
    Option(
        "swift_user",
        "text",
        "The user; with version 1: the account, a colon and the user.",
        default="registry",
        variable="OS_USERNAME",
        required=True,
    ),
    Option(
        "swift_password",
        "text",
        "The password of the user.",
        default="secret",
        variable="OS_PASSWORD",
        secret=True,
        required=True,
    ),
    Option(
        "swift_tenant_name",
        "text",
        "The project (in version 2: tenant) that owns the container.",
        variable="OS_TENANT_NAME",
    ),
    Option(
        "swift_project_name",
        "text",
        "The project, under the current name, which the variables of `openrc` files have.",
        variable="OS_PROJECT_NAME",
    ),
    Option(
        "swift_user_domain",
        "text",
        "The name of the user's domain; only for version 3.",
        default="Default",
        variable="OS_USER_DOMAIN_NAME",
    ),
    Option(
        "swift_project_domain",
        "text",
        "The name of the project's domain; only for version 3.",
        default="Default",
        variable="OS_PROJECT_DOMAIN_NAME",
    ),
    Option(
        "swift_region_name",
        "text",
        "The region, if the catalog has several.",
        variable="OS_REGION_NAME",
    ),
    Option(
        "swift_endpoint_type",
        "choice",
        "The interface in the catalog whose address the server itself uses. Clients are always"
        " redirected to the public address.",
        default="public",
        variable="OS_INTERFACE",
        choices=("public", "internal", "admin"),
    ),
    Option(
        "swift_cacert",
        "text",
        "A PEM file with the certificate authority (CA) of the servers' certificates. Default:"
        " the CAs of the system.",
        variable="OS_CACERT",
    ),
    Option(
        "swift_temp_url_key",
        "text",
        "For `storage_redirect`: the key of the account or the container for temporary URLs."
        " Default: clients are redirected only if the container is public, as in docker-registry"
        " 0.x.",
        variable="SWIFT_TEMP_URL_KEY",
        secret=True,
    ),
    Option(
        "swift_temp_url_digest",
        "choice",
        "The hash that signs temporary URLs. Old servers and Ceph support only `sha1`.",
        default="sha256",
        variable="SWIFT_TEMP_URL_DIGEST",
        choices=("sha1", "sha256", "sha512"),
    ),
    Option(
        "swift_segment_size",
        "size",
        "The size of the segments in which layers are uploaded.",
        default="8MiB",
        variable="SWIFT_SEGMENT_SIZE",
        at_least=1024 * 1024,
    ),
    Option(
        "swift_upload_memory",
        "size",
        "The memory of each process for segments of all running uploads. Segments beyond this"
        " size are kept in temporary files (`TMPDIR`), one for each upload.",
        default="64MiB",
        variable="SWIFT_UPLOAD_MEMORY",
        at_least=2 * 1024 * 1024,
    ),
    Option(
        "swift_conditional_writes",
        "boolean",
        "`true`: the store lets exactly one of several concurrent requests with `If-None-Match:"
        " *` succeed. Neither Swift nor Ceph does. `false`: of two first pushes of one image at"
        " the same time, the registry finds the winner by reading the object back.",
        default=False,
        variable="SWIFT_CONDITIONAL_WRITES",
    ),
    Option(
        "swift_read_timeout",
        "duration",
        "The longest time to wait for data from the store. The driver sends refused and failed"
        " requests up to three times.",
        default="30s",
        variable="SWIFT_READ_TIMEOUT",
        at_least=1,
    ),
)
