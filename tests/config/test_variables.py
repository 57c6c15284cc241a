"""Environment variables: unchanged text, service links, and names that no option reads."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.config.texts import BASE
from v1registry.config import Config, ConfigError, load_config
from v1registry.config.load import Document, find
from v1registry.server.settings import SettingsError
from v1registry.server.settings import settings as settings_of

SECRETS = [
    *("Tr0ub4dor #3", "&tango77", "~", "null", "#hash1", "[open", "{brace", ">gt9", "|pipe"),
    *("!bang", "*star", "%pct", "@at", "`tick", "key: value", "- dash", "0123", "yes"),
    *(
        "2014-01-01",
        "'quoted'",
        '"quoted"',
        " blanks ",
        "_env:OTHER",
        "a\\nb",
        "a: b: c",
        "\u00e9\u2603",
    ),
]

#: Variables with a secret, and the variables that their flavor needs.
PLACES = {
    "s3_secret_key": ("AWS_SECRET", {"SETTINGS_FLAVOR": "s3", "AWS_BUCKET": "b", "AWS_KEY": "k"}),
    "cloudfront.keyid": (
        "CF_KEYID",
        {
            "SETTINGS_FLAVOR": "cloudfronts3",
            "AWS_BUCKET": "b",
            "CF_BASE_URL": "https://c.example",
            "CF_KEYSECRET": "/key.pem",
        },
    ),
    "swift_password": (
        "OS_PASSWORD",
        {
            "SETTINGS_FLAVOR": "swift",
            "OS_AUTH_URL": "https://k.example/v3",
            "OS_USERNAME": "u",
            "OS_CONTAINER": "c",
            "OS_TENANT_NAME": "t",
        },
    ),
    "glance_password": (
        "OS_PASSWORD",
        {
            "SETTINGS_FLAVOR": "glance",
            "OS_AUTH_URL": "https://k.example/v3",
            "OS_USERNAME": "u",
            "OS_TENANT_NAME": "t",
        },
    ),
    "gs_secret_key": (
        "GCS_SECRET",
        {"SETTINGS_FLAVOR": "gcs", "GCS_BUCKET": "b", "GCS_KEY": "k"},
    ),
}


@pytest.mark.parametrize("key", PLACES)
@pytest.mark.parametrize("secret", SECRETS)
def test_the_text_of_a_secret_is_used_unchanged(key, secret):
    variable, environ = PLACES[key]
    assert load_config(environ={**environ, variable: secret}).storage[key] == secret


@pytest.mark.parametrize("secret", SECRETS)
def test_passwords_of_redis_and_of_the_directory(secret):
    environ = {
        "SETTINGS_FLAVOR": "local",
        "CACHE_REDIS_HOST": "redis.example",
        "CACHE_REDIS_PASSWORD": secret,
        "LDAP_URL": "ldaps://directory.example",
        "LDAP_BASE": "dc=example",
        "LDAP_BIND_DN": "cn=registry",
        "LDAP_BIND_PASSWORD": secret,
    }
    config = load_config(environ=environ)
    assert config.redis is not None
    assert (config.redis.password, config.ldap.bind_password) == (secret, secret)


def test_a_database_url_with_a_hash_sign_in_its_password():
    url = "postgresql://registry:a%20 #b@db.example/registry"
    with pytest.raises(ConfigError, match=r"index\.database"):
        load_config(environ={"INDEX_DATABASE": url})
    good = "postgresql://registry:a%23b&c@db.example/registry"
    assert load_config(environ={"INDEX_DATABASE": good}).index.database == good


def test_line_ends_after_a_secret_are_removed():
    # `$(cat FILE)` drops them, and a Kubernetes secret made of a file keeps them
    environ = PLACES["s3_secret_key"][1]
    assert load_config(environ={**environ, "AWS_SECRET": "pw\r\n"}).storage["s3_secret_key"] == "pw"


def test_an_empty_variable_is_not_set(load):
    assert load(f"{BASE}    issue: _env:X:text\n", {"X": ""}).issue == '"docker-registry server"'


def test_other_kinds_still_read_yaml(load):
    environ = {"X": "[10.0.0.0/8]", "Y": "yes", "Z": "'4MiB'"}
    text = "    trusted_proxies: _env:X\n    debug: _env:Y\n    limits: {json: _env:Z}\n"
    config = load(f"{BASE}{text}", environ)
    assert (config.trusted_proxies, config.debug) == (("10.0.0.0/8",), True)
    assert config.limits.json == 4 * 1024**2


# -- registry 2.x ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "ours"),
    [
        ("REGISTRY_AUTH", "htpasswd", "ACCOUNTS_HTPASSWD"),
        ("REGISTRY_AUTH", "{token: {realm: x}}", "ACCOUNTS_HTPASSWD"),
        ("REGISTRY_AUTH", "{silly: null}", "ACCOUNTS_HTPASSWD"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd", "ACCOUNTS_HTPASSWD"),
        ("REGISTRY_AUTH_TOKEN_REALM", "https://auth.example/token", "ACCOUNTS_HTPASSWD"),
        ("REGISTRY_AUTH_TOKEN_SERVICE", "registry", "ACCOUNTS_HTPASSWD"),
        ("REGISTRY_HTTP_TLS_CERTIFICATE", "/certs/a.pem", "TLS_CERTIFICATE"),
        ("REGISTRY_HTTP_TLS_CLIENTCAS_0", "/certs/ca.pem", "TLS_CERTIFICATE"),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS", "[a.example]", "TLS_CERTIFICATE"),
        ("REGISTRY_HTTP_TLS", "{certificate: /a.pem}", "TLS_CERTIFICATE"),
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true", "READ_ONLY=true"),
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}", "READ_ONLY=true"),
        ("REGISTRY_HTTP", "{addr: ':5000', tls: {certificate: /a.pem}}", "TLS_CERTIFICATE"),
        ("REGISTRY_STORAGE", "{maintenance: {readonly: {enabled: true}}}", "READ_ONLY=true"),
    ],
)
def test_protection_of_registry_2_is_refused(problems, name, text, ours):
    [(key, _, reason)] = problems(BASE, {name: text})
    assert key == ""
    assert reason.startswith(f"variable {name} protects registry 2.x, but not this server: use")
    assert ours in reason


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/srv", "use STORAGE_PATH"),
        ("REGISTRY_HTTP_ADDR", "0.0.0.0:80", "use REGISTRY_HOST and REGISTRY_PORT"),
        ("REGISTRY_LOG_LEVEL", "debug", "use LOGLEVEL"),
        ("REGISTRY_STORAGE_DELETE_ENABLED", "true", "docs/configuration.md"),
        ("REGISTRY_PROXY_REMOTEURL", "https://registry.example", "docs/configuration.md"),
        ("REGISTRY_HTTP_SECRET", "x", "docs/configuration.md"),
        ("REGISTRY_AUTH", "none", "docs/configuration.md"),
        ("REGISTRY_AUTH", "{none: null}", "docs/configuration.md"),
        ("REGISTRY_HTTP_TLS", "{certificate: null, clientcas: []}", "docs/configuration.md"),
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "false", "docs/configuration.md"),
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: false}", "docs/configuration.md"),
        ("REGISTRY_HTTP", "{addr: ':5000', secret: x}", "docs/configuration.md"),
    ],
)
def test_other_variables_of_registry_2_give_a_warning(load, name, text, hint):
    [warning] = load(BASE, {name: text}).warnings
    assert warning.startswith(f"variable {name}: has no effect, it belongs to registry 2.x")
    assert hint in warning


def test_a_variable_that_the_file_reads_gives_no_warning(load):
    text = f"{BASE}    index_endpoint: _env:REGISTRY_AUTH_TOKEN_REALM\n"
    config = load(text, {"REGISTRY_AUTH_TOKEN_REALM": "https://index.example"})
    assert config.index_endpoint == "https://index.example"
    assert [text.partition(":")[0] for text in config.warnings] == ["dev.index_endpoint"]


# -- variables of 0.x, and misspelt ones ----------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "MIRROR_SOURCE",
        "MIRROR_SOURCE_INDEX",
        "CORS_ORIGINS",
        "SMTP_HOST",
        "BUGSNAG",
        "PRIVILEGED_KEY",
    ],
)
def test_variables_of_0x_without_effect_give_a_warning(load, name):
    [warning] = load(BASE, {name: "https://x.example"}).warnings
    assert warning.startswith(f"variable {name}: has no effect")


def test_one_warning_for_a_variable_that_the_file_reads(load):
    text = f"{BASE}    mirroring: {{source: _env:MIRROR_SOURCE}}\n"
    [warning] = load(text, {"MIRROR_SOURCE": "https://x.example"}).warnings
    assert warning.startswith("dev.mirroring: has no effect")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ACCOUNTS_HTPASWD", "; do you mean ACCOUNTS_HTPASSWD?"),
        ("TLS_CERTIFICAT", "; do you mean TLS_CERTIFICATE?"),
        ("LDAP_START_TSL", "; do you mean LDAP_START_TLS?"),
        ("ACCESS_RULE", "; do you mean ACCESS_RULES?"),
        ("INDEX_PRIVAT", "; do you mean INDEX_PRIVATE?"),
        ("TLS_WHOLLY_OTHER", ""),
    ],
)
def test_misspelt_variables_about_access_give_a_warning(load, name, meant):
    [warning] = load(BASE, {name: "x"}).warnings
    assert warning == f"variable {name}: has no effect: no option reads it{meant}"


# -- service links --------------------------------------------------------------------------------

LINK = "tcp://10.0.0.9:5000"


def test_the_port_of_a_service_link_is_ignored(load):
    config = load(BASE, {"REGISTRY_PORT": LINK})
    assert settings_of({"REGISTRY_PORT": LINK}, config)["bind"] == "0.0.0.0:5000"
    [warning] = config.warnings
    assert warning.startswith(f"variable REGISTRY_PORT: ignored: {LINK} is a service link")
    assert "enableServiceLinks" in warning


def test_a_port_that_is_no_number_and_no_link_is_still_refused(load):
    with pytest.raises(SettingsError, match="REGISTRY_PORT: 'tcp' is not a whole number"):
        settings_of({"REGISTRY_PORT": "tcp"}, load(BASE))


@pytest.mark.parametrize(
    ("name", "flavor"), [("CACHE_REDIS_PORT", "local"), ("V2_PORT", "local"), ("AWS_PORT", "s3")]
)
def test_other_ports_are_left_to_their_defaults(name, flavor):
    environ = {"SETTINGS_FLAVOR": flavor, "AWS_BUCKET": "b", "STORAGE_PATH": "/srv/x"}
    config = load_config(environ={**environ, name: LINK})
    plain = load_config(environ=environ)
    assert (config.cache, config.v2, config.storage) == (plain.cache, plain.v2, plain.storage)
    [warning] = set(config.warnings) - set(plain.warnings)
    assert warning.startswith(f"variable {name}: ignored: {LINK} is a service link")


def test_service_links_of_other_services_give_no_warning(load):
    links = {
        "REGISTRY_SERVICE_HOST": "10.0.0.9",
        "REGISTRY_SERVICE_PORT": "5000",
        "REGISTRY_PORT_5000_TCP": LINK,
        "REGISTRY_PORT_5000_TCP_ADDR": "10.0.0.9",
        "REGISTRY_AUTH_PORT": "tcp://10.0.0.8:5001",
        "REGISTRY_AUTH_SERVICE_HOST": "10.0.0.8",
        "REGISTRY_AUTH_SERVICE_PORT_HTTPS": "5001",
        "REGISTRY_AUTH_PORT_5001_TCP_PROTO": "tcp",
        "LDAP_PORT": "tcp://10.0.0.7:389",
        "LDAP_SERVICE_HOST": "10.0.0.7",
        "TLS_ENV_PASSWORD": "x",
    }
    assert load(BASE, links).warnings == ()


# -- the address ----------------------------------------------------------------------------------


def test_address_of_the_rpm_package(load):
    config = load(BASE)
    assert settings_of({"REGISTRY_ADDRESS": "127.0.0.1"}, config)["bind"] == "127.0.0.1:5000"
    both = {"REGISTRY_ADDRESS": "127.0.0.1", "REGISTRY_HOST": "127.0.0.1"}
    assert settings_of(both, config)["bind"] == "127.0.0.1:5000"
    with pytest.raises(SettingsError, match=r"REGISTRY_ADDRESS: 127\.0\.0\.1 differs"):
        settings_of({**both, "REGISTRY_HOST": "0.0.0.0"}, config)


# -- properties -----------------------------------------------------------------------------------

SHIPPED = Document(find({}))
MARK = "hush-hush"  # a part of each generated secret

YAML_PIECES = st.sampled_from(
    [*SECRETS, " #", "#", "&a", "*a", "&a {b: *a}", "~", "null", "!!int ''", "!!bool x", "!!timestamp x",
     "!!binary", "? ", "- ", ": ", "{", "}", "[", "]", ",", "'", '"', "|", ">", "%", "@", "`", "_env:X:",
     "---", "...", "<<", "0x1", "0o7", "1e400", ".nan", "2014-99-99", "1:2", " ", "\\", "\n", "\r", "\t",
     "\ufeff", "\u2028", "\udcff", "tcp://10.0.0.9:5000"]
)  # fmt: skip
TEXTS = st.one_of(
    st.lists(YAML_PIECES, max_size=4).map("".join),
    st.text(st.characters(exclude_characters="\0"), max_size=20),
)


@st.composite
def secrets_in(draw: st.DrawFn) -> str:
    return draw(TEXTS) + MARK + draw(TEXTS)


REDIS = {"SETTINGS_FLAVOR": "local", "CACHE_REDIS_HOST": "redis.example"}
LDAP = {
    "SETTINGS_FLAVOR": "local",
    "LDAP_URL": "ldaps://directory.example",
    "LDAP_BASE": "dc=example",
    "LDAP_BIND_DN": "cn=registry",
}
EVERYWHERE = {
    **PLACES,
    "cache.password": ("CACHE_REDIS_PASSWORD", REDIS),
    "cache_lru.password": ("CACHE_LRU_REDIS_PASSWORD", {**REDIS, "CACHE_LRU_REDIS_HOST": "r"}),
    "ldap.bind_password": ("LDAP_BIND_PASSWORD", LDAP),
}


def used(config: Config, key: str) -> Any:
    """Return the value of an option."""
    if key in config.storage:
        return config.storage[key]
    group, _, name = key.partition(".")
    return getattr(getattr(config, group), name) if name else getattr(config, group)


def outcome(load, environ: dict[str, str]) -> tuple[Config | None, list[tuple[str, str]]]:
    """Return the configuration, if it is valid, and the key and reason of each problem."""
    try:
        return load(environ), []
    except ConfigError as error:
        return None, [(problem.key, problem.reason) for problem in error.problems]


@settings(max_examples=100, deadline=None)
@given(key=st.sampled_from(list(EVERYWHERE)), secret=secrets_in())
def test_a_secret_is_used_unchanged_or_refused_without_its_text(key, secret):
    variable, environ = EVERYWHERE[key]
    flavor, expected = environ["SETTINGS_FLAVOR"], secret.rstrip("\r\n")
    config, problems = outcome(
        lambda given: SHIPPED.config(flavor, given), {**environ, variable: secret}
    )
    assert (config is not None) == expected.isprintable()
    assert config is None or used(config, key) == expected
    assert config is not None or f"{flavor}.{key}" in dict(problems)
    if key != "cloudfront.keyid":  # the name of a key, which messages may show
        assert MARK not in f"{problems} {config.warnings if config else ''}"


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True) | st.sampled_from(
    ["REDIS_PORT_6379_TCP_ADDR", "REDIS_ENV_PASSWORD", "DB_SERVICE_HOST", "REGISTRY_AUTH", "X_NAME"]
)


@settings(max_examples=100, deadline=None)
@given(name=NAMES, text=TEXTS, key=st.sampled_from(["issue", "store_id", "cache.password"]))
def test_a_variable_that_the_file_names_is_used_unchanged(tmp_path_factory, name, text, key):
    """Also if its name looks like that of a service link or of registry 2.x."""
    file = tmp_path_factory.getbasetemp() / "named.yml"
    cache = "{host: h, password: _env:%s}" if key == "cache.password" else "_env:%s"
    file.write_text(f"{BASE}    {key.partition('.')[0]}: {cache % name}\n")
    plain = used(load_config(file, {}), key)
    config, problems = outcome(lambda environ: load_config(file, environ), {name: text})
    kept = text.rstrip("\r\n")
    if name.endswith("_PORT") and text.startswith("tcp://"):
        kept = ""
    assert (config is not None) == kept.isprintable()
    assert config is None or used(config, key) == (kept or plain)
    assert {found for found, _ in problems} <= {f"dev.{key}"}


@pytest.fixture(scope="module")
def flavor(tmp_path_factory):
    """`flavor(environ)`: the configuration of BASE, whose file is read once."""
    file = tmp_path_factory.mktemp("variables") / "config.yml"
    file.write_text(BASE)
    document = Document(file)
    return lambda environ: document.config("dev", environ)


WORDS = st.sampled_from(
    ["x", "true", "1", "/a.pem", "htpasswd", "[a.example]", "https://a.example"]
)
OFF = st.sampled_from(["", "none", "None", "false", "no", "off", " off ", "0"])
SCALARS = WORDS | OFF | st.booleans() | st.integers(0, 9) | st.none()
# Members of registry 2.x that request no protection.
INNOCENT = {
    "REGISTRY_HTTP": ["ADDR", "SECRET", "HOST", "DEBUG", "HEADERS", "TLSX", "RELATIVEURLS"],
    "REGISTRY_STORAGE": ["DELETE", "CACHE", "MAINTENANCE_UPLOADPURGING", "REDIRECT", "FILESYSTEM"],
    "REGISTRY_LOG": ["LEVEL", "FORMATTER", "FIELDS"],
    "REGISTRY_PROXY": ["REMOTEURL", "USERNAME", "PASSWORD"],
}
# Members that do, and our option.
PROTECTING = {
    "REGISTRY_AUTH_HTPASSWD_PATH": "ACCOUNTS_HTPASSWD",
    "REGISTRY_AUTH_TOKEN_REALM": "ACCOUNTS_HTPASSWD",
    "REGISTRY_AUTH_SILLY_SERVICE": "ACCOUNTS_HTPASSWD",
    "REGISTRY_HTTP_TLS_CERTIFICATE": "TLS_CERTIFICATE",
    "REGISTRY_HTTP_TLS_CLIENTCAS": "TLS_CERTIFICATE",
    "REGISTRY_HTTP_TLS_LETSENCRYPT_EMAIL": "TLS_CERTIFICATE",
    "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED": "READ_ONLY",
}


def written(draw: st.DrawFn, name: str, value: Any) -> tuple[str, str]:
    """Return a variable: the last words of its name become keys of a mapping in its value."""
    words = name.split("_")
    depth = draw(st.integers(2, len(words)))
    for word in reversed(words[depth:]):
        value = {draw(st.sampled_from([word.lower(), word])): value}
    text = value if isinstance(value, str) else yaml.safe_dump(value)
    return "_".join(words[:depth]), text


@st.composite
def innocent(draw: st.DrawFn) -> tuple[str, str]:
    section = draw(st.sampled_from(list(INNOCENT)))
    member = draw(st.sampled_from(INNOCENT[section]))
    return written(draw, f"{section}_{member}", draw(SCALARS | st.lists(WORDS, max_size=2)))


@st.composite
def protecting(draw: st.DrawFn) -> tuple[str, str, str]:
    name = draw(st.sampled_from(list(PROTECTING)))
    return (*written(draw, name, draw(WORDS)), PROTECTING[name])


@settings(max_examples=100, deadline=None)
@given(harmless=st.lists(innocent(), max_size=3), asking=st.lists(protecting(), max_size=2))
def test_registry_2_variables_are_refused_exactly_if_they_request_protection(
    harmless, asking, flavor
):
    environ = dict(harmless)
    expected = {}
    for name, text, ours in asking:
        environ[name] = text
        expected[name] = ours
    config, problems = outcome(flavor, environ)
    assert {reason.split()[1] for _, reason in problems} == set(expected)
    assert all(expected[reason.split()[1]] in reason for _, reason in problems)
    if config is not None:
        given = [name for name, text in environ.items() if text]
        assert sorted(text.split()[1].rstrip(":") for text in config.warnings) == sorted(given)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(
        ["REGISTRY_AUTH", "REGISTRY_HTTP", "REGISTRY_STORAGE", "REGISTRY_HTTP_TLS"]
    ),
    text=st.lists(YAML_PIECES, max_size=6).map("".join),
)
@example(name="REGISTRY_HTTP", text="&a {http: *a, tls: *a}")
@example(name="REGISTRY_AUTH", text="&a {b: *a}")
def test_any_text_in_a_variable_of_registry_2_gives_a_warning_or_an_error(name, text, flavor):
    config, problems = outcome(flavor, {name: text})
    found = [reason for _, reason in problems] + list(config.warnings if config else ())
    assert [reason.split()[1].rstrip(":") for reason in found] == [name] * bool(text)


SERVICES = st.sampled_from(
    ["REGISTRY", "REGISTRY_AUTH", "REGISTRY_HTTP_TLS", "LDAP", "TLS", "INDEX", "ACCOUNTS", "ACCESS",
     "CACHE_REDIS", "CACHE_LRU_REDIS", "V2", "AWS", "OS", "STORAGE", "GUNICORN", "SEARCH", "DOCKER"]
) | st.from_regex(r"(REGISTRY|TLS|LDAP|INDEX)(_[A-Z]{1,6}){0,2}", fullmatch=True)  # fmt: skip


@st.composite
def links(draw: st.DrawFn) -> dict[str, str]:
    """The variables by which Kubernetes or `docker run --link` describes one service."""
    service, scheme = draw(SERVICES), draw(st.sampled_from(["tcp", "udp", "sctp"]))
    host, port = f"10.0.0.{draw(st.integers(0, 255))}", draw(st.integers(1, 65535))
    one = f"{service}_PORT_{port}_{scheme.upper()}"
    found = {
        f"{service}_PORT": f"{scheme}://{host}:{port}",
        one: f"{scheme}://{host}:{port}",
        f"{one}_PROTO": scheme,
        f"{one}_PORT": str(port),
        f"{one}_ADDR": host,
    }
    if draw(st.booleans()):
        found |= {f"{service}_SERVICE_HOST": host, f"{service}_SERVICE_PORT": str(port)}
        found[f"{service}_SERVICE_PORT_HTTPS"] = str(port)
    else:
        found |= {f"{service}_NAME": "/web/db", f"{service}_ENV_PASSWORD": draw(WORDS)}
    return found


@settings(max_examples=100, deadline=None)
@given(environ=links())
def test_service_links_change_nothing(environ):
    plain, config = SHIPPED.config("local", {}), SHIPPED.config("local", environ)
    assert dataclasses.replace(config, warnings=()) == dataclasses.replace(plain, warnings=())
    ports = [text for text in config.warnings if text not in plain.warnings]
    assert all(" is a service link of Docker or Kubernetes" in text for text in ports)
    assert settings_of(environ, config)["bind"] == "0.0.0.0:5000"
