"""The access rules of the configuration."""

from __future__ import annotations

import pytest

from v1registry.auth.rules import Rules
from v1registry.config import access as config
from v1registry.config.access import DEFAULT_RULES
from v1registry.lib.auth.rights import ANONYMOUS, Access, Caller
from v1registry.lib.names import RepositoryName

PRIVATE = RepositoryName("team", "secret")
WRITTEN = [
    {"who": "anybody", "repositories": "library/*", "allow": "pull"},
    {"who": "anybody", "repositories": ["busybox", "team/*"], "allow": "pull"},
    {"who": "users", "repositories": "{user}/*", "allow": ["pull", "push", "delete"]},
    {"who": ["ann", "@ops"], "repositories": "team/*", "allow": ["pull", "push"]},
    {"who": "robot", "repositories": "ci/build-?", "allow": "push"},
]

CASES = [
    # user, groups, repository, allowed access
    (None, (), "library/anything", "pull"),
    (None, (), "library/deep/er", "pull"),
    (None, (), "team/app", "pull"),
    (None, (), "other/app", ""),
    (None, (), "team/secret", ""),  # flagged private
    (None, (), "{user}/app", ""),
    ("ann", (), "team/app", "pull push"),
    ("ann", (), "team/secret", "pull push"),
    ("ann", (), "ann/app", "pull push delete"),
    ("ann", (), "ann/deep/er", "pull push delete"),
    ("ann", (), "anna/app", ""),
    ("bob", (), "team/secret", ""),
    ("bob", ("ops",), "team/secret", "pull push"),
    ("ops", (), "team/secret", ""),  # a name is no group
    ("@ops", (), "team/secret", ""),
    ("users", (), "team/secret", ""),
    ("anybody", (), "team/secret", ""),
    ("robot", (), "ci/build-1", "push"),
    ("robot", (), "ci/build-10", ""),
    ("robot", (), "ci/build-", ""),
    ("*", (), "ann/app", ""),
    ("a?n", (), "ann/app", ""),
    (".*", (), "ann/app", ""),
    ("team/app", (), "team/app/x", "pull"),  # no namespace of its own
    ("", (), "library/x", "pull"),
    ("ANN", (), "team/secret", ""),
]


@pytest.fixture
def rules() -> Rules:
    return Rules(config.rules(WRITTEN), lambda repository: repository == PRIVATE)


@pytest.mark.parametrize(("user", "groups", "name", "may"), CASES)
def test_rules(rules: Rules, user: str | None, groups: tuple, name: str, may: str) -> None:
    caller = Caller(user=user, groups=frozenset(groups))
    namespace, _, rest = name.partition("/")
    repository = RepositoryName(namespace, rest)
    found = {access.value for access in Access if rules.allow(caller, repository, access)}
    assert found == set(may.split())


@pytest.mark.parametrize(
    ("user", "may"),
    [(None, "pull"), ("ann", "pull push delete"), ("robot", "pull push delete")],
)
def test_access_to_any_repository(rules: Rules, user: str | None, may: str) -> None:
    caller = Caller(user=user)
    found = {access.value for access in Access if rules.allow(caller, None, access)}
    assert found == set(may.split())


def test_the_default_rules_allow_everything_to_accounts() -> None:
    rules = Rules(DEFAULT_RULES, lambda _: True)
    for access in Access:
        assert rules.allow(Caller(user="ann"), PRIVATE, access)
        assert not rules.allow(ANONYMOUS, PRIVATE, access)
        assert not rules.allow(ANONYMOUS, None, access)


def test_no_rule_allows_nothing() -> None:
    rules = Rules((), lambda _: False)
    assert not any(rules.allow(Caller(user="ann"), PRIVATE, access) for access in Access)


def test_the_private_flag_is_read_only_if_it_decides() -> None:
    def fail(_: RepositoryName) -> bool:
        raise AssertionError("looked at the store")

    rules = Rules(config.rules(WRITTEN), fail)
    assert rules.allow(Caller(user="ann"), PRIVATE, Access.PUSH)
    assert not rules.allow(Caller(user="bob"), RepositoryName("x", "y"), Access.PULL)
