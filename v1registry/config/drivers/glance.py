"""The options of the driver `glance`, without those of its alternate driver."""

from __future__ import annotations

from v1registry.config.option import option, table


@table
class GlanceOptions:
    """The options of the driver `glance`."""

    storage_alternate: str = option(
        "choice",
        "file",
        variable="GLANCE_STORAGE_ALTERNATE",
        choices=("file", "local", "s3", "swift"),
    )
    """The driver that keeps everything except the layers: tags, image lists, image JSONs,
    unfinished uploads. Set its options in the same flavor."""

    glance_url: str | None = option("text", variable="OS_GLANCE_URL", outside=True)
    """The address of Glance, such as `http://glance:9292`. Default: the address in Keystone's
    catalog."""

    glance_authurl: str | None = option("text", variable="OS_AUTH_URL", outside=True)
    """The address of Keystone. The end `/v3` or `/v2.0` sets its API version. Default: requests to
    Glance have no token."""

    glance_user: str | None = option("text", variable="OS_USERNAME", outside=True)
    """The user name."""

    glance_password: str | None = option("text", variable="OS_PASSWORD", secret=True, outside=True)
    """The password of the user."""

    glance_tenant_name: str | None = option("text", variable="OS_TENANT_NAME", outside=True)
    """The project (formerly tenant) that owns the images."""

    glance_user_domain: str = option(
        "text", "Default", variable="OS_USER_DOMAIN_NAME", outside=True
    )
    """The name of the user's domain; only for Keystone v3."""

    glance_project_domain: str = option(
        "text", "Default", variable="OS_PROJECT_DOMAIN_NAME", outside=True
    )
    """The name of the project's domain; only for Keystone v3."""

    glance_region_name: str | None = option("text", variable="OS_REGION_NAME", outside=True)
    """The region of Glance in the catalog."""

    glance_cacert: str | None = option("text", variable="OS_CACERT", outside=True)
    """A PEM file with the certificate authority (CA) of the certificates of Keystone and Glance.
    Default: the CAs of the system."""

    glance_visibility: str = option(
        "choice", "public", choices=("public", "community", "shared", "private")
    )
    """The visibility of the layers in Glance. `public` requires the right `publicize_image` there;
    without it, layers stay private and the log has a warning."""

    glance_read_timeout: int = option("duration", "60s", at_least=1)
    """The longest time to wait for data from Glance. The driver sends refused and failed requests
    up to three times, except uploads."""

    glance_request_headers: bool = option("boolean", False)
    """`true`: use the token of the request header `X-Meta-Auth-Token` for Glance, as
    docker-registry 0.x did for nova-docker. `X-Meta-Glance-Image-Id` then names the Glance image
    that receives the layer."""

    glance_endpoints: str | None = option("endpoints")
    """Further addresses of Glance that such a request may name in `X-Meta-Glance-Endpoint`: a list,
    or a text with commas."""
