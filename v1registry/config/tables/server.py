"""Options for proxies, TLS and extensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from v1registry.config.option import group, option, table


@table
class TlsOptions:
    """The group `tls`: paths of PEM files, both or none."""

    certificate: str | None = option("path")
    """A PEM file with the certificate and its chain. With it, the server speaks https. Needs
    `tls.key`."""

    key: str | None = option("path")
    """The PEM file with the private key of the certificate."""


@table
class ServerOptions:
    """Options for proxies, TLS and extensions."""

    trusted_proxies: tuple[str, ...] = option("networks", ["127.0.0.1", "::1"])
    """The addresses and networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` the
    server trusts: a list, or a text with commas."""

    tls: TlsOptions = group(TlsOptions)

    extensions: Mapping[str, Any] = option("mapping", {}, variable=None)
    """The settings of docker-registry's extensions. Must be empty: this version runs no
    extensions."""
