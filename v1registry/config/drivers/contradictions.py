"""Checks for contradictory options of storage drivers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from v1registry.config.drivers import STORAGE

_S3_KEYS = ("s3_access_key", "s3_secret_key")


def contradictions(storage: Mapping[str, Any], wrong: Collection[str]) -> Iterator[tuple[str, str]]:
    """Iterate over the key and the reason of each contradiction.

    `storage`: the driver and its checked options. `wrong`: keys that already have a problem.
    """
    yield from _s3_keys(storage, wrong)
    yield from _cloudfront(storage, wrong)
    if storage.get(STORAGE.key) == "glance" and not any(key.startswith("glance_") for key in wrong):
        yield from _glance(storage)


def _s3_keys(storage: Mapping[str, Any], wrong: Collection[str]) -> Iterator[tuple[str, str]]:
    """Report half a key pair. With it, boto3 would silently use the role of the machine."""
    given = [key for key in _S3_KEYS if storage.get(key)]
    if len(given) == 1 and not set(_S3_KEYS) & set(wrong):
        [missing] = set(_S3_KEYS) - set(given)
        yield missing, f"must be set, because {given[0]} is; or leave out both"


def _cloudfront(storage: Mapping[str, Any], wrong: Collection[str]) -> Iterator[tuple[str, str]]:
    """Report missing options of CloudFront: signing a URL needs all of them."""
    keys = [key for key in storage if key.startswith("cloudfront.")]
    if any(storage[key] for key in keys):
        for key in keys:
            if not storage[key] and key not in wrong:
                yield key, "must be set: CloudFront needs base, keyid and keysecret"


def _glance(storage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not storage["glance_url"] and not storage["glance_authurl"]:
        yield "glance_url", "must be set, or glance_authurl, whose catalog names Glance"
    for key in ("user", "password", "tenant_name"):
        if storage["glance_authurl"] and not storage[f"glance_{key}"]:
            yield f"glance_{key}", "must be set, because glance_authurl is"
