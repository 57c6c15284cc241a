"""Proxies in front, TLS; and what extensions want."""

from __future__ import annotations

from v1registry.config.options import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "trusted_proxies",
        "networks",
        "Addresses and networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are"
        " believed: a list, or a text with commas.",
        default=["127.0.0.1", "::1"],
        variable="TRUSTED_PROXIES",
    ),
    Option(
        "tls.certificate",
        "path",
        "A PEM file with the certificate and its chain: serve https. Needs `tls.key`.",
        variable="TLS_CERTIFICATE",
    ),
    Option(
        "tls.key",
        "path",
        "The PEM file with the certificate's private key.",
        variable="TLS_KEY",
    ),
    Option(
        "extensions",
        "mapping",
        "Settings of 0.x's extensions. Must be empty: this version runs no extensions.",
        default={},
    ),
)
