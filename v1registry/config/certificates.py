"""Checks of the PEM files in the configuration, by loading them.

With a damaged certificate the server could not serve any client, and with a damaged CA file it
could not trust any other server. The check reports both before a process starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from v1registry.config.schema import Config


def problems(config: Config) -> Iterator[tuple[str, str]]:
    """Iterate over the keys of files that cannot be used, and the reasons."""
    pair, authorities = _files(config)
    missing = {key: file for key, file in (pair | authorities).items() if not os.path.isfile(file)}
    for key, file in missing.items():
        yield key, f"no such file: {file}"
    if len(pair) == 1:
        other = "tls.key" if "tls.certificate" in pair else "tls.certificate"
        yield other, "must be set: https needs a certificate and its key"
    if missing:
        return
    if len(pair) == 2 and (problem := pair_problem(*pair.values())):
        number, reason = problem
        yield list(pair)[number], reason
    for key, file in authorities.items():
        if is_readable(file) and not _has_certificates(file):
            yield key, f"no certificate in PEM form in {file}"


def unreadable(config: Config) -> Iterator[tuple[str, str]]:
    """Iterate over the keys of files that this user may not read, which are not checked."""
    pair, authorities = _files(config)
    for key, file in (pair | authorities).items():
        if os.path.isfile(file) and not is_readable(file):
            yield key, f"not checked: this user may not read {file}"


def _files(config: Config) -> tuple[dict[str, str], dict[str, str]]:
    """Return the files of the certificate and its key, and of the CAs, by their keys."""
    pair = {"tls.certificate": config.tls.certificate, "tls.key": config.tls.key}
    authorities = {
        "index_ca": config.index_ca,
        "ldap.ca": config.ldap.ca,
        "cache_ca": config.cache_ca,
    }
    given = [{key: file for key, file in each.items() if file} for each in (pair, authorities)]
    return given[0], given[1]


def pair_problem(certificate: str, key: str) -> tuple[int, str] | None:
    """Return which file (0 or 1) cannot be used, and why; None if both can, or are unreadable."""
    if not (is_readable(certificate) and is_readable(key)):
        return None
    import ssl

    if not _has_certificates(certificate):
        return 0, f"no certificate in PEM form in {certificate}"
    encrypted = False

    def password() -> str:  # without a password, OpenSSL would wait for input on the terminal
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if encrypted:
            return 1, f"the key in {key} is encrypted: write it without a password (openssl pkey)"
        if error.reason == "KEY_VALUES_MISMATCH":
            return 1, f"the key in {key} does not belong to the first certificate in {certificate}"
        if error.reason and error.reason.startswith(("EE_", "CA_")):
            return 0, f"OpenSSL refuses {certificate}: {error.reason.lower().replace('_', ' ')}"
        return 1, f"no private key in PEM form in {key}"
    return None


def _has_certificates(file: str) -> bool:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(file)
    except ssl.SSLError:
        return False
    return True


def is_readable(file: str) -> bool:
    """Return whether this user may read an existing file."""
    try:
        with open(file, "rb"):
            return True
    except PermissionError:
        return False
