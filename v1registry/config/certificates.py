"""Checks of the PEM files in the configuration, by loading them.

With a damaged certificate the server could not serve any client, and with a damaged CA file it
could not trust any other server. The check reports both before a process starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

_PAIR = ("tls.certificate", "tls.key")
_AUTHORITIES = ("index_ca", "ldap.ca", "cache_ca")


def problems(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Iterate over the keys of files that cannot be used, and the reasons."""
    missing = False
    for key in (*_PAIR, *_AUTHORITIES):
        if found[key] and not os.path.isfile(found[key]):
            missing = True
            yield key, f"no such file: {found[key]}"
    given = [key for key in _PAIR if found[key]]
    if len(given) == 1:
        [other] = set(_PAIR) - set(given)
        yield other, "must be set: https needs a certificate and its key"
    if missing:
        return
    if len(given) == 2 and (problem := pair_problem(found[_PAIR[0]], found[_PAIR[1]])):
        number, reason = problem
        yield _PAIR[number], reason
    for key in _AUTHORITIES:
        if found[key] and is_readable(found[key]) and not _has_certificates(found[key]):
            yield key, f"no certificate in PEM form in {found[key]}"


def unreadable(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Iterate over the keys of files that this user may not read, which are not checked."""
    for key in (*_PAIR, *_AUTHORITIES):
        if found[key] and os.path.isfile(found[key]) and not is_readable(found[key]):
            yield key, f"not checked: this user may not read {found[key]}"


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
