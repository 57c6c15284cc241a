"""The options of the driver `swift`."""

from __future__ import annotations

from v1registry.config.option import option, table


@table
class SwiftOptions:
    """The options of the driver `swift`."""

    swift_authurl: str = option(
        "text", "https://keystone.example:5000/v3", variable="OS_AUTH_URL", required=True
    )
    """The address that issues tokens: Keystone's `https://keystone.example:5000/v3`, or Swift's own
    `https://swift.example/auth/v1.0`."""

    swift_auth_version: int | None = option("auth version", variable="OS_IDENTITY_API_VERSION")
    """The version of authentication: 1 (Swift's own), 2 or 3 (Keystone's). Default: the version at
    the end of the URL, else 3."""

    swift_container: str = option("text", "registry", variable="OS_CONTAINER", required=True)
    """The container. It must exist."""

    storage_path: str = option("path", "/registry")
    """The prefix of object names: `/registry` means `registry/`. With `/`, names begin with a
    slash, as in docker-registry 0.x."""

    swift_user: str = option("text", "registry", variable="OS_USERNAME", required=True)
    """The user; with version 1: the account, a colon and the user."""

    swift_password: str = option(
        "text", "secret", variable="OS_PASSWORD", secret=True, required=True
    )
    """The password of the user."""

    swift_tenant_name: str | None = option("text", variable="OS_TENANT_NAME")
    """The project (in version 2: tenant) that owns the container."""

    swift_project_name: str | None = option("text", variable="OS_PROJECT_NAME")
    """The project, under the current name, which the variables of `openrc` files have."""

    swift_user_domain: str = option("text", "Default", variable="OS_USER_DOMAIN_NAME")
    """The name of the user's domain; only for version 3."""

    swift_project_domain: str = option("text", "Default", variable="OS_PROJECT_DOMAIN_NAME")
    """The name of the project's domain; only for version 3."""

    swift_region_name: str | None = option("text", variable="OS_REGION_NAME")
    """The region, if the catalog has several."""

    swift_endpoint_type: str = option(
        "choice", "public", variable="OS_INTERFACE", choices=("public", "internal", "admin")
    )
    """The interface in the catalog whose address the server itself uses. Clients are always
    redirected to the public address."""

    swift_cacert: str | None = option("text", variable="OS_CACERT")
    """A PEM file with the certificate authority (CA) of the servers' certificates. Default: the CAs
    of the system."""

    swift_temp_url_key: str | None = option("text", secret=True)
    """For `storage_redirect`: the key of the account or the container for temporary URLs. Default:
    clients are redirected only if the container is public, as in docker-registry 0.x."""

    swift_temp_url_digest: str = option("choice", "sha256", choices=("sha1", "sha256", "sha512"))
    """The hash that signs temporary URLs. Old servers and Ceph support only `sha1`."""

    swift_segment_size: int = option("size", "8MiB", at_least=1024 * 1024)
    """The size of the segments in which layers are uploaded."""

    swift_upload_memory: int = option("size", "64MiB", at_least=2 * 1024 * 1024)
    """The memory of each process for segments of all running uploads. Segments beyond this size are
    kept in temporary files (`TMPDIR`), one for each upload."""

    swift_conditional_writes: bool = option("boolean", False)
    """`true`: the store lets exactly one of several concurrent requests with `If-None-Match: *`
    succeed. Neither Swift nor Ceph does. `false`: of two first pushes of one image at the same
    time, the registry finds the winner by reading the object back."""

    swift_read_timeout: int = option("duration", "30s", at_least=1)
    """The longest time to wait for data from the store. The driver sends refused and failed
    requests up to three times."""
