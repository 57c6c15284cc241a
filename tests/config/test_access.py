"""Options for access: standalone or index, access rules, password files, contradictions."""

from __future__ import annotations

import pytest
import yaml

from tests.config.texts import BASE
from v1registry.config import htpasswd
from v1registry.config.access import DEFAULT_RULES, Rule
from v1registry.config.show import as_yaml

HASH = "$2y$05$wxJUPqZzWG/dGUIomi9dyOaH9jOLEuuwXNf1yv0s/VEa19uR2D/H6"
INDEXED = BASE.replace("standalone: true", "standalone: false")
KEY = "A" * 43


@pytest.fixture
def passwords(tmp_path):
    file = tmp_path / "htpasswd"
    file.write_text(f"ann:{HASH}\n")
    return file


def rules(load, written: str):
    return load(f"{BASE}    access: {written}\n").access


# -- rules ------------------------------------------------------------------------


def test_rules(load):
    [rule] = rules(load, "[{who: anybody, repositories: '*', allow: pull}]")
    assert rule == Rule(("anybody",), ("*",), ("pull",))
    text = "accounts: {user_header: X-Remote-User}\n    access:\n"
    text += "        - {who: [ann, '@ops', ann@example.org], repositories: [busybox, team/*, a*,"
    text += " '{user}/*'], allow: [pull, push, delete]}"
    [rule] = load(f"{BASE}    {text}\n").access
    assert rule.who == ("ann", "@ops", "ann@example.org")
    assert rule.repositories == ("library/busybox", "team/*", "library/a*", "{user}/*")
    assert rules(load, "[]") == ()
    assert rules(load, "~") is None


@pytest.mark.parametrize(
    "written",
    [
        "all",
        "{who: anybody}",
        "[anybody]",
        "[{who: anybody, repositories: '*'}]",
        "[{who: anybody, repositories: '*', allow: pull, deny: push}]",
        "[{who: [], repositories: '*', allow: pull}]",
        "[{who: 5, repositories: '*', allow: pull}]",
        "[{who: 'a:b', repositories: '*', allow: pull}]",
        "[{who: '@', repositories: '*', allow: pull}]",
        "[{who: 'ann ', repositories: '*', allow: pull}]",
        "[{who: anybody, repositories: 'UP/*', allow: pull}]",
        "[{who: anybody, repositories: '{name}/*', allow: pull}]",
        "[{who: anybody, repositories: '', allow: pull}]",
        "[{who: anybody, repositories: '*', allow: all}]",
        "[{who: anybody, repositories: '*', allow: [pull, Push]}]",
    ],
)
def test_invalid_rules(problems, written):
    [(key, _, reason)] = problems(f"{BASE}    access: {written}\n")
    assert key == "dev.access"
    assert reason.startswith("must ")


def test_rules_are_shown_as_they_are_written(load, tmp_path, passwords):
    text = f"accounts: {{htpasswd: {passwords}}}\n    access:\n"
    text += "        - {who: users, repositories: app, allow: pull}\n"
    config = load(f"{BASE}    {text}")
    assert load(yaml.safe_dump({"dev": yaml.safe_load(as_yaml(config))})) == config


def test_the_rules_of_a_variable(load):
    text = f"{BASE}    access: _env:ACCESS_RULES\n"
    environ = {"ACCESS_RULES": "[{who: anybody, repositories: '*', allow: pull}]"}
    assert load(text, environ).access == (Rule(("anybody",), ("*",), ("pull",)),)
    assert DEFAULT_RULES[0].who == ("users",)


# -- the three ways of running, and what is neither ----------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "index_endpoint: https://index.example/",
        "index_endpoint: http://10.0.0.1:5000/index/",
        f"index_keys: [{KEY}]",
        "disable_token_auth: true",
    ],
)
def test_an_index_or_disable_token_auth(load, written):
    config = load(f"{INDEXED}    {written}\n")
    assert not config.standalone
    told = [text.partition(": ")[0] for text in config.warnings]
    assert told == ["dev.disable_token_auth"] * config.disable_token_auth


@pytest.mark.parametrize(
    ("written", "key", "reason"),
    [
        ("", "standalone", "must be true, or there must be an index"),
        ("disable_token_auth: 1", "standalone", "must be true, or there must be an index"),
        ("index_endpoint: https://u:p@h", "index_endpoint", "must be a URL"),
        ("index_endpoint: ftp://h", "index_endpoint", "must be a URL"),
        ("index_endpoint: https://h?x", "index_endpoint", "must be a URL"),
        ("index_endpoint: https://", "index_endpoint", "must be a URL"),
        ("index_endpoint: https://[h", "index_endpoint", "must be a URL"),
        ("index_endpoint: index.example", "index_endpoint", "must be a URL"),
        ("index_keys: [x]", "index_keys", "must be a list of public keys"),
        ("index_endpoint: https://h\n    access: []", "standalone", "must be true if accounts"),
        (f"index_keys: {KEY}\n    disable_token_auth: true", "disable_token_auth", "must be false"),
    ],
)
def test_contradictory_options_of_an_index(problems, written, key, reason):
    found = problems(f"{INDEXED}    {written}\n")
    assert found[-1][0] == f"dev.{key}" or found[0][0] == f"dev.{key}"
    assert any(text.startswith(reason) for _, _, text in found)


def test_an_index_has_no_effect_on_a_standalone_registry(load):
    text = f"{BASE}    index_endpoint: https://h\n    index_keys: {KEY},{KEY}\n"
    assert [text.partition(": ")[0] for text in load(text).warnings] == [
        "dev.index_endpoint",
        "dev.index_keys",
    ]


@pytest.mark.parametrize(
    ("written", "key", "reason"),
    [
        ("access: [{who: ann, repositories: '*', allow: pull}]", "access", "must name only"),
        ("access: [{who: users, repositories: '*', allow: pull}]", "access", "must name only"),
        ("accounts: {groups_header: X-G}", "accounts.groups_header", "must not be set without"),
        ("accounts: {user_header: 'X Y'}", "accounts.user_header", "must be the name of a header"),
        ("accounts: {user_header: X-U}\n    trusted_proxies: []", "accounts.user_header",
         "must not be set without trusted_proxies"),
        ("accounts: {htpasswd: /nowhere}", "accounts.htpasswd", "cannot be read: No such file"),
        ("ldap: {base: dc=x}", "ldap.base", "must not be set without ldap.url"),
        ("ldap: {url: ldaps://h}", "ldap.url", "needs either user_dn, or base"),
        ("ldap: {url: ldaps://h, base: x, user_dn: '{user}'}", "ldap.url", "needs either"),
        ("ldap: {url: ldaps://h, base: x, bind_dn: y}", "ldap.bind_dn", "must be set together"),
        ("ldap: {url: ldaps://h, base: x, start_tls: true}", "ldap.start_tls", "must be false"),
        ("ldap: {url: 'ldap://h/dc=x'}", "ldap.url", "must be ldaps://host"),
        ("ldap: {url: 'ldap://u@h'}", "ldap.url", "must be ldaps://host"),
        ("ldap: {url: 5}", "ldap.url", "must be ldaps://host"),
        ("ldap: {url: https://h}", "ldap.url", "must be ldaps://host"),
        ("ldap: {filter: (uid=x)}", "ldap.filter", "must be text with {user}"),
    ],
)  # fmt: skip
def test_contradictory_options_of_accounts(problems, written, key, reason):
    [(found, _, text)] = problems(f"{BASE}    {written}\n")
    assert found == f"dev.{key}"
    assert text.startswith(reason)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("ldaps://h", False),
        ("ldap://localhost:389", False),
        ("ldap://127.0.0.1", False),
        ("ldap://h", True),
    ],
)
def test_unencrypted_passwords_give_a_warning(load, url, warned):
    config = load(f"{BASE}    ldap: {{url: '{url}', user_dn: 'uid={{user}},dc=x'}}\n")
    assert [text.partition(": ")[0] for text in config.warnings] == ["dev.ldap.url"] * warned


def test_no_secret_is_shown(load):
    text = "ldap: {url: ldaps://h, base: dc=x, bind_dn: cn=x, bind_password: hush}"
    config = load(f"{BASE}    {text}\n")
    assert "hush" not in as_yaml(config)
    assert "hush" not in repr(config)


# -- password files -----------------------------------------------------------------


def test_a_password_file(passwords):
    other = HASH.replace("$2y$", "$2b$")
    passwords.write_text(f"# ours\n\nann:{HASH}\r\nb\u00f6b:{other}\n", encoding="utf-8-sig")
    assert htpasswd.read(str(passwords)) == {"ann": HASH, "b\u00f6b": other}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"bob:$apr1$x$y", "line 2 holds no bcrypt hash: make it with `htpasswd -B`"),
        (b"bob:{SHA}abc=", "line 2 holds no bcrypt hash"),
        (b"bob:secret", "line 2 holds no bcrypt hash"),
        (b"bob:", "line 2 holds no bcrypt hash"),
        (b"bob", "line 2 is not name:hash"),
        (b":" + HASH.encode(), "line 2 is not name:hash"),
        (b"ann:" + HASH.encode(), "line 2 has the name of an earlier line"),
        (b"\xff:" + HASH.encode(), "not UTF-8"),
    ],
)
def test_invalid_password_files(problems, passwords, line, reason):
    passwords.write_bytes(f"ann:{HASH}\n".encode() + line + b"\n")
    [(key, _, text)] = problems(f"{BASE}    accounts: {{htpasswd: {passwords}}}\n")
    assert key == "dev.accounts.htpasswd"
    assert text.startswith(f"{passwords}: {reason}")
    assert "secret" not in text


# -- administrators ---------------------------------------------------------------------


def test_admins(load, passwords):
    text = f"{BASE}    accounts: {{htpasswd: {passwords}}}\n"
    assert load(f"{text}    admins: [ann, ops]\n").admins == ("ann", "ops")
    assert load(f"{text}    admins: _env:ADMINS\n", {"ADMINS": "ann, ops"}).admins == ("ann", "ops")
    assert load(text).admins == ()


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("admins: [ann]", "must not be set, because nothing identifies ann"),
        ("admins: ['@ops']", "must name users, and no groups such as @ops"),
        ("admins: {ann: true}", "must be a list of texts"),
        (
            "admins: [ann]\n    index: {database: 'sqlite:////srv/index.db'}",
            "must not be set with an index",
        ),
    ],
)
def test_admins_without_effect(problems, written, reason):
    [(key, _, said)] = problems(f"{BASE}    {written}\n")
    assert (key, said[: len(reason)]) == ("dev.admins", reason)
