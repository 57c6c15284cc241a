"""The options of the driver `swift`."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "swift_authurl",
        "text",
        "Where tokens are had: Keystone's `https://keystone.example:5000/v3`, or Swift's own"
        " `https://swift.example/auth/v1.0`.",
        default="https://keystone.example:5000/v3",
        variable="OS_AUTH_URL",
        required=True,
    ),
    Option(
        "swift_auth_version",
        "auth version",
        "1 (Swift's own), 2 or 3 (Keystone's). Default: as the URL ends, else 3.",
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
        "What names begin with: `/registry` stands for `registry/`. With `/` names begin with a"
        " slash, as in 0.x.",
        default="/registry",
        variable="STORAGE_PATH",
    ),
    Option(
        "swift_user",
        "text",
        "The user; with version 1 the account, a colon and the user.",
        default="registry",
        variable="OS_USERNAME",
        required=True,
    ),
    Option(
        "swift_password",
        "text",
        "Its password.",
        default="secret",
        variable="OS_PASSWORD",
        secret=True,
        required=True,
    ),
    Option(
        "swift_tenant_name",
        "text",
        "The project (the tenant, as version 2 says) whose account it is.",
        variable="OS_TENANT_NAME",
    ),
    Option(
        "swift_project_name",
        "text",
        "The same by the name of today, for which `openrc` files have a variable.",
        variable="OS_PROJECT_NAME",
    ),
    Option(
        "swift_user_domain",
        "text",
        "The domain of the user, by name; version 3 alone.",
        default="Default",
        variable="OS_USER_DOMAIN_NAME",
    ),
    Option(
        "swift_project_domain",
        "text",
        "The domain of the project, likewise.",
        default="Default",
        variable="OS_PROJECT_DOMAIN_NAME",
    ),
    Option(
        "swift_region_name",
        "text",
        "The region, where the catalog has several.",
        variable="OS_REGION_NAME",
    ),
    Option(
        "swift_endpoint_type",
        "choice",
        "Which of the catalog's addresses the server itself uses; clients are redirected to the"
        " public one.",
        default="public",
        variable="OS_INTERFACE",
        choices=("public", "internal", "admin"),
    ),
    Option(
        "swift_cacert",
        "text",
        "A PEM file with the authority of the servers' certificates. Default: the system's.",
        variable="OS_CACERT",
    ),
    Option(
        "swift_temp_url_key",
        "text",
        "For `storage_redirect`: the key that the account or the container has for temporary URLs."
        " Without: clients are redirected only if the container is public, as in 0.x.",
        variable="SWIFT_TEMP_URL_KEY",
        secret=True,
    ),
    Option(
        "swift_temp_url_digest",
        "choice",
        "How those are signed; old servers, and Ceph, know `sha1` alone.",
        default="sha256",
        variable="SWIFT_TEMP_URL_DIGEST",
        choices=("sha1", "sha256", "sha512"),
    ),
    Option(
        "swift_segment_size",
        "size",
        "Layers are sent in segments of this size.",
        default="8MiB",
        variable="SWIFT_SEGMENT_SIZE",
        at_least=1024 * 1024,
    ),
    Option(
        "swift_upload_memory",
        "size",
        "What a process keeps in memory of all layers that come in. Segments for which there is no room"
        " lie in temporary files (`TMPDIR`), one an upload.",
        default="64MiB",
        variable="SWIFT_UPLOAD_MEMORY",
        at_least=2 * 1024 * 1024,
    ),
    Option(
        "swift_conditional_writes",
        "boolean",
        "`true`: the store lets exactly one of several `If-None-Match: *` in the same instant win."
        " No Swift does, nor Ceph; without, two first pushes of one image in the same instant are"
        " settled by reading back.",
        default=False,
        variable="SWIFT_CONDITIONAL_WRITES",
    ),
    Option(
        "swift_read_timeout",
        "duration",
        "How long the store may keep silent. Requests that it refuses for the moment, or that do"
        " not reach it, are tried three times.",
        default="30s",
        variable="SWIFT_READ_TIMEOUT",
        at_least=1,
    ),
)
