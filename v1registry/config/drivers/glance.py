"""The options of the driver `glance`, without those of its alternate driver."""

from __future__ import annotations

from v1registry.config.options import Option

#: Drivers that can keep the objects that Glance does not.
ALTERNATES = ("file", "local", "s3", "swift")

OPTIONS: tuple[Option, ...] = (
    Option(
        "storage_alternate",
        "choice",
        "The driver that keeps everything except the layers: tags, image lists, image JSONs,"
        " unfinished uploads. Set its options in the same flavor.",
        default="file",
        variable="GLANCE_STORAGE_ALTERNATE",
        choices=ALTERNATES,
    ),
    Option(
        "glance_url",
        "text",
        "The address of Glance, such as `http://glance:9292`. Default: the address in Keystone's"
        " catalog.",
        variable="OS_GLANCE_URL",
        outside=True,
    ),
    Option(
        "glance_authurl",
        "text",
        "The address of Keystone. The end `/v3` or `/v2.0` sets its API version. Default:"
        " requests to Glance have no token.",
        variable="OS_AUTH_URL",
        outside=True,
    ),
    Option("glance_user", "text", "The user name.", variable="OS_USERNAME", outside=True),
    Option(
        "glance_password",
        "text",
        "The password of the user.",
        variable="OS_PASSWORD",
        secret=True,
        outside=True,
    ),
    Option(
        "glance_tenant_name",
        "text",
        "The project (formerly tenant) that owns the images.",
        variable="OS_TENANT_NAME",
        outside=True,
    ),
    Option(
        "glance_user_domain",
        "text",
        "The name of the user's domain; only for Keystone v3.",
        default="Default",
        variable="OS_USER_DOMAIN_NAME",
        outside=True,
    ),
    Option(
        "glance_project_domain",
        "text",
        "The name of the project's domain; only for Keystone v3.",
        default="Default",
        variable="OS_PROJECT_DOMAIN_NAME",
        outside=True,
    ),
    Option(
        "glance_region_name",
        "text",
        "The region of Glance in the catalog.",
        variable="OS_REGION_NAME",
        outside=True,
    ),
    Option(
        "glance_cacert",
        "text",
        "A PEM file with the certificate authority (CA) of the certificates of Keystone and"
        " Glance. Default: the CAs of the system.",
        variable="OS_CACERT",
        outside=True,
    ),
    Option(
        "glance_visibility",
        "choice",
        "The visibility of the layers in Glance. `public` requires the right `publicize_image`"
        " there; without it, layers stay private and the log has a warning.",
        default="public",
        variable="GLANCE_VISIBILITY",
        choices=("public", "community", "shared", "private"),
    ),
    Option(
        "glance_read_timeout",
        "duration",
        "The longest time to wait for data from Glance. The driver sends refused and failed"
        " requests up to three times, except uploads.",
        default="60s",
        variable="GLANCE_READ_TIMEOUT",
        at_least=1,
    ),
    Option(
        "glance_request_headers",
        "boolean",
        "`true`: use the token of the request header `X-Meta-Auth-Token` for Glance, as"
        " docker-registry 0.x did for nova-docker. `X-Meta-Glance-Image-Id` then names the Glance"
        " image that receives the layer.",
        default=False,
        variable="GLANCE_REQUEST_HEADERS",
    ),
    Option(
        "glance_endpoints",
        "endpoints",
        "Further addresses of Glance that such a request may name in `X-Meta-Glance-Endpoint`: a"
        " list, or a text with commas.",
        variable="GLANCE_ENDPOINTS",
    ),
)
