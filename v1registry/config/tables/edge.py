"""Options for proxies, TLS and extensions."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "trusted_proxies",
        "networks",
        "The addresses and networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto`"
        " the server trusts: a list, or a text with commas.",
        default=["127.0.0.1", "::1"],
        variable="TRUSTED_PROXIES",
    ),
    Option(
        "tls.certificate",
        "path",
        "A PEM file with the certificate and its chain. With it, the server speaks https. Needs"
        " `tls.key`.",
        variable="TLS_CERTIFICATE",
    ),
    Option(
        "tls.key",
        "path",
        "The PEM file with the private key of the certificate.",
        variable="TLS_KEY",
    ),
    Option(
        "extensions",
        "mapping",
        "The settings of docker-registry's extensions. Must be empty: this version runs no"
        " extensions.",
        default={},
    ),
)
