"""Options that contradict each other, or need a file or a package that is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from v1registry.config import certificates, database, htpasswd
from v1registry.config.access import ANYBODY
from v1registry.config.drivers import STORAGE
from v1registry.config.schema import Config
from v1registry.config.tables.access import AccountOptions, LdapOptions
from v1registry.storage.errors import installing

#: A key and the reason why its value cannot be used.
Finding = tuple[str, str]

SHORTEST_SECRET = 16  # characters

_S3_KEYS = ("s3_access_key", "s3_secret_key")


def contradictions(config: Config, wrong: Collection[str]) -> Iterator[Finding]:
    """Iterate over the keys and the reasons.

    `wrong`: keys that already have a problem; their values are None.
    """
    yield from _standalone(config)
    yield from _access(config)
    yield from _accounts(config.accounts)
    yield from _ldap(config.ldap)
    yield from _index(config)
    yield from certificates.problems(config)
    yield from _redis(config)
    if config.web.secret is not None and len(config.web.secret) < SHORTEST_SECRET:
        yield (
            "web.secret",
            f"must have at least {SHORTEST_SECRET} characters: a client that guesses it can sign in"
            " as any user. `openssl rand -hex 32` makes one",
        )
    if config.extensions:
        yield (
            "extensions",
            "must be empty: this version runs no extensions, so one that refuses pushes would"
            " protect nothing; see docs/upgrade.md",
        )
    yield from _s3_keys(config.storage, wrong)
    yield from _cloudfront(config.storage, wrong)
    is_glance = config.storage.get(STORAGE.key) == "glance"
    if is_glance and not any(key.startswith("glance_") for key in wrong):
        yield from _glance(config.storage)


def _standalone(config: Config) -> Iterator[Finding]:
    if config.standalone is not False:
        return
    if not (config.index_endpoint or config.index_keys or config.disable_token_auth):
        yield (
            "standalone",
            "must be true, or there must be an index that decides who may do what: set"
            " index_endpoint or index_keys; without one, the registry would be open by accident",
        )
    if config.has_accounts:
        reason = "must be true if accounts or access are set: with false, an index has accounts"
        yield "standalone", reason
    elif config.disable_token_auth and config.index_keys:
        yield "disable_token_auth", "must be false if index_keys is set, which verifies tokens"
    elif config.index_keys and _is_missing("cryptography"):
        yield "index_keys", _needs("cryptography", "index")


def _access(config: Config) -> Iterator[Finding]:
    named = {name for rule in config.access or () for name in rule.who} - {ANYBODY}
    if named and not config.has_users:
        reason = f"must name only {ANYBODY}, because nothing identifies {min(named)}"
        yield "access", f"{reason}: set accounts.htpasswd, accounts.user_header or ldap.url"
    if config.admins and config.index.database is not None:
        yield "admins", "must not be set with an index: use v1registry index user admin"
    elif groups := [name for name in config.admins or () if name.startswith("@")]:
        yield "admins", f"must name users, and no groups such as {groups[0]}"
    elif config.admins and not config.has_users:
        reason = f"must not be set, because nothing identifies {config.admins[0]}"
        yield "admins", f"{reason}: set accounts.htpasswd, accounts.user_header or ldap.url"
    if config.accounts.user_header and config.trusted_proxies == ():
        reason = "must not be set without trusted_proxies, which set the header"
        yield "accounts.user_header", reason


def _accounts(accounts: AccountOptions) -> Iterator[Finding]:
    if accounts.groups_header and not accounts.user_header:
        yield "accounts.groups_header", "must not be set without user_header"
    if accounts.htpasswd is not None:
        try:
            htpasswd.read(accounts.htpasswd)
        except OSError as error:
            yield "accounts.htpasswd", f"cannot be read: {error.strerror}: {accounts.htpasswd}"
        except ValueError as error:
            yield "accounts.htpasswd", f"{accounts.htpasswd}: {error}"


def _ldap(ldap: LdapOptions) -> Iterator[Finding]:
    if not ldap.url:
        for name in ("user_dn", "base", "bind_dn", "groups_base"):
            if getattr(ldap, name):
                yield f"ldap.{name}", "must not be set without ldap.url"
        return
    if bool(ldap.user_dn) == bool(ldap.base):
        yield "ldap.url", "needs either user_dn, or base to search for users, and not both"
    if bool(ldap.bind_dn) != bool(ldap.bind_password):
        yield "ldap.bind_dn", "must be set together with bind_password"
    if ldap.start_tls and ldap.url.startswith("ldaps:"):
        yield "ldap.start_tls", "must be false, because the URL with ldaps: already means TLS"
    if _is_missing("ldap3"):
        yield "ldap.url", _needs("ldap3", "ldap")


def _index(config: Config) -> Iterator[Finding]:
    url = config.index.database
    if url is not None and (reason := database.missing(url)) is not None:
        yield "index.database", reason
    if url is not None and config.has_accounts:
        reason = "must not be set together with accounts or access: an index has its own accounts"
        yield "index.database", reason
    if config.index.alone and url is None:
        yield "index.database", "must be set for an index without a registry (index.alone)"
    if config.index.alone and not config.registry_endpoints:
        reason = "must be set: an index without a registry names the registries with the images"
        yield "registry_endpoints", reason
    if config.index.alone and config.immutable_tags:
        yield "immutable_tags", "must be set at the registries: an index alone has no store"


def _redis(config: Config) -> Iterator[Finding]:
    if config.redis is not None and _is_missing("redis"):
        used = config.redis_key
        yield used if used == "cache_url" else f"{used}.host", _needs("redis", "redis")


def _s3_keys(storage: Mapping[str, Any], wrong: Collection[str]) -> Iterator[Finding]:
    """Report half a key pair. With it, boto3 would silently use the role of the machine."""
    given = [key for key in _S3_KEYS if storage.get(key)]
    if len(given) == 1 and not set(_S3_KEYS) & set(wrong):
        [missing] = set(_S3_KEYS) - set(given)
        yield missing, f"must be set, because {given[0]} is; or leave out both"


def _cloudfront(storage: Mapping[str, Any], wrong: Collection[str]) -> Iterator[Finding]:
    """Report missing options of CloudFront: signing a URL needs all of them."""
    keys = [key for key in storage if key.startswith("cloudfront.")]
    if any(storage[key] for key in keys):
        for key in keys:
            if not storage[key] and key not in wrong:
                yield key, "must be set: CloudFront needs base, keyid and keysecret"


def _glance(storage: Mapping[str, Any]) -> Iterator[Finding]:
    if not storage["glance_url"] and not storage["glance_authurl"]:
        yield "glance_url", "must be set, or glance_authurl, whose catalog names Glance"
    for key in ("user", "password", "tenant_name"):
        if storage["glance_authurl"] and not storage[f"glance_{key}"]:
            yield f"glance_{key}", "must be set, because glance_authurl is"


def _is_missing(package: str) -> bool:
    return importlib.util.find_spec(package) is None


def _needs(package: str, extra: str) -> str:
    return f"needs the package {package}, which is not installed: {installing(extra)}"
