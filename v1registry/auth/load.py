"""Building of the rights that the configuration describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from v1registry.config import Config
from v1registry.config.access import DEFAULT_RULES, Rule
from v1registry.lib.auth.rights import IsPrivate, Open, Rights
from v1registry.lib.names import RepositoryName
from v1registry.lib.running import Run, Within
from v1registry.lib.support import counts as counters
from v1registry.lib.support.counts import Counts
from v1registry.lib.support.throttle import Throttle

if TYPE_CHECKING:
    from v1registry.auth.accounts import PasswordVerifier

Listed = Callable[[RepositoryName, list[str]], None]


def rights_of(
    config: Config,
    is_private: IsPrivate,
    listed: Listed,
    counts: Counts | None,
    run_in_thread: Run,
    within: Within,
) -> Rights:
    """Return the rights that the configuration describes.

    `listed` receives the image lists of an index. `counts` are shared by nodes.
    `run_in_thread(function, *arguments)` runs a function outside the event loop.
    `within(seconds, function)` limits the time of a call.
    """
    if not config.checks_access:
        return Open()
    if config.standalone:
        return _accounts(config, is_private, counts, run_in_thread, within)
    return _index(config, listed, run_in_thread, within)


def _index(config: Config, listed: Listed, run_in_thread: Run, within: Within) -> Rights:
    from v1registry.auth.external_index import ExternalIndexRights
    from v1registry.auth.external_index_client import IndexClient
    from v1registry.lib.auth import tokens

    client = verifier = None
    if config.index_endpoint is not None:
        client = IndexClient(
            config.index_endpoint.rstrip("/"),
            ca=config.index_ca,
            timeout=config.index_timeout,
            limit=config.limits.json,
            within=within,
            run_in_thread=run_in_thread,
        )
    if config.index_keys:
        keys = [tokens.parse_public(text) for text in config.index_keys]
        verifier = tokens.Verifier({tokens.key_id(key): key for key in keys}, config.clock_skew)
    return ExternalIndexRights(client, verifier, remember=config.index_remember, listed=listed)


def _accounts(
    config: Config, is_private: IsPrivate, counts: Counts | None, run_in_thread: Run, within: Within
) -> Rights:
    verifiers: list[PasswordVerifier] = []
    if config.accounts.htpasswd is not None:
        from v1registry.auth.htpasswd import PasswordFile

        verifiers.append(PasswordFile(config.accounts.htpasswd, run_in_thread))
    if config.ldap.url is not None:
        from v1registry.auth.ldap import Directory  # an optional extra

        verifiers.append(Directory(config.ldap, within))
    rules = DEFAULT_RULES if config.access is None else config.access
    return _by_rules(config, verifiers, rules, is_private, counts, knows_users=config.has_users)


def by_password(
    config: Config, verifiers: Sequence[PasswordVerifier], counts: Counts | None, challenge: str
) -> Rights:
    """Return rights that only identify users by their passwords. They allow no access."""
    found = _by_rules(config, verifiers, (), lambda _: True, counts, knows_users=True)
    found.challenge = challenge
    return found


def _by_rules(
    config: Config,
    verifiers: Sequence[PasswordVerifier],
    rules: Sequence[Rule],
    is_private: IsPrivate,
    counts: Counts | None,
    *,
    knows_users: bool,
) -> Rights:
    from v1registry.auth.accounts import AccountRights
    from v1registry.auth.rules import Rules

    return AccountRights(
        verifiers,
        Rules(rules, is_private),
        throttle_of(config, counts),
        remember=config.accounts.remember,
        knows_users=knows_users,
    )


def throttle_of(config: Config, counts: Counts | None) -> Throttle:
    """Return the limit on wrong passwords, which `counts` shares between nodes."""
    return Throttle(config.accounts.attempts, counts, counters.of_node())
