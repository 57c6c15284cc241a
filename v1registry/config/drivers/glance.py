"""The options of the driver `glance`; those of its alternate store come on top."""

from __future__ import annotations

from v1registry.config.options import Option

#: Drivers that can keep what does not lie in Glance.
ALTERNATES = ("file", "local", "s3", "swift")

OPTIONS: tuple[Option, ...] = (
    Option(
        "storage_alternate",
        "choice",
        "The driver that keeps all but the layers: tags, lists, JSONs, uploads under way. Its own"
        " options stand in the same flavor.",
        default="file",
        variable="GLANCE_STORAGE_ALTERNATE",
        choices=ALTERNATES,
    ),
    Option(
        "glance_url",
        "text",
        "The address of Glance, such as `http://glance:9292`. Without: the one in Keystone's"
        " catalog.",
        variable="OS_GLANCE_URL",
        outside=True,
    ),
    Option(
        "glance_authurl",
        "text",
        "The address of Keystone; one that ends in `/v3` or `/v2.0` says what it speaks. Without:"
        " Glance is asked without a token.",
        variable="OS_AUTH_URL",
        outside=True,
    ),
    Option("glance_user", "text", "The account.", variable="OS_USERNAME", outside=True),
    Option(
        "glance_password",
        "text",
        "Its password.",
        variable="OS_PASSWORD",
        secret=True,
        outside=True,
    ),
    Option(
        "glance_tenant_name",
        "text",
        "The tenant, today called project, that owns the images.",
        variable="OS_TENANT_NAME",
        outside=True,
    ),
    Option(
        "glance_user_domain",
        "text",
        "The account's domain, by name; Keystone v3 alone.",
        default="Default",
        variable="OS_USER_DOMAIN_NAME",
        outside=True,
    ),
    Option(
        "glance_project_domain",
        "text",
        "The project's domain, likewise.",
        default="Default",
        variable="OS_PROJECT_DOMAIN_NAME",
        outside=True,
    ),
    Option(
        "glance_region_name",
        "text",
        "The region whose Glance is taken from the catalog.",
        variable="OS_REGION_NAME",
        outside=True,
    ),
    Option(
        "glance_cacert",
        "text",
        "A PEM file with the authority of both servers' certificates. Default: the system's.",
        variable="OS_CACERT",
        outside=True,
    ),
    Option(
        "glance_visibility",
        "choice",
        "Who sees the layers in Glance. `public` needs the right `publicize_image` there; without"
        " it they stay private, with a warning.",
        default="public",
        variable="GLANCE_VISIBILITY",
        choices=("public", "community", "shared", "private"),
    ),
    Option(
        "glance_read_timeout",
        "duration",
        "How long Glance may keep silent. Requests that it refuses for the moment, or that do not"
        " reach it, are tried three times; uploads are not.",
        default="60s",
        variable="GLANCE_READ_TIMEOUT",
        at_least=1,
    ),
    Option(
        "glance_request_headers",
        "boolean",
        "`true`: a request that has `X-Meta-Auth-Token` is carried out in Glance with that token,"
        " as in 0.x, which nova-docker used; `X-Meta-Glance-Image-Id` names the image that its"
        " layer becomes.",
        default=False,
        variable="GLANCE_REQUEST_HEADERS",
    ),
    Option(
        "glance_endpoints",
        "endpoints",
        "Addresses of Glance that such a request may name in `X-Meta-Glance-Endpoint`, beside the"
        " one above: a list, or a text with commas.",
        variable="GLANCE_ENDPOINTS",
    ),
)
