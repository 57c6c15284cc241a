"""Options of our own index: database URLs and contradictions."""

from __future__ import annotations

import importlib.util

import pytest

from tests.config.texts import BASE
from v1registry.config import load_config
from v1registry.config.database import OLD_DEFAULT
from v1registry.config.show import as_yaml
from v1registry.config.tables.index import IndexOptions

SQLITE = "sqlite:////srv/index.db"
POSTGRESQL = "postgresql://me:hush@db.example/index"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch):
    """`without(name)`: as if that module were not installed."""
    find = importlib.util.find_spec

    def without(absent: str) -> None:
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == absent else find(name)
        )

    return without


def test_no_index_by_default(load):
    config = load(BASE)
    assert config.index == IndexOptions(
        None, False, "closed", False, False, 14400, 5, 10, 3600, 86400, 10
    )
    assert (config.database, config.is_index) == (None, False)


@pytest.mark.parametrize(
    "url",
    [
        SQLITE,
        "sqlite:///relative/index.db",
        POSTGRESQL,
        "postgres://db/index",
        "postgresql+psycopg2://me@db:5433/index?sslmode=require",
        "postgresql:///index",
    ],
)
def test_databases(load, monkeypatch, url):
    monkeypatch.chdir("/")
    config = load(f"{BASE}    index: {{database: '{url}'}}\n")
    assert (config.index.database, config.database, config.is_index) == (url, url, True)
    assert config.warnings == ()


@pytest.mark.parametrize(
    "url",
    [
        "x",
        "/srv/index.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///",
        "sqlite://host/x.db",
        "postgresql://me:hush@db",
        "postgresql+asyncpg://db/x",
        "mysql://me:hush@db/x",
        "postgresql://[db/x",
    ],
)
def test_invalid_database_urls(problems, url):
    [(key, _, reason)] = problems(f"{BASE}    index: {{database: '{url}'}}\n")
    assert key == "dev.index.database"
    assert reason.startswith("must be sqlite:////absolute/path.db, or postgresql://")
    assert "hush" not in reason.replace("user:password", "")


def test_the_password_is_not_shown(load):
    text = f"{BASE}    index: {{database: '{POSTGRESQL}'}}\n"
    text += f"    sqlalchemy_index_database: '{POSTGRESQL}'\n"
    config = load(text)
    assert "hush" not in as_yaml(config)
    assert "hush" not in repr(config)


@pytest.mark.parametrize(
    ("url", "absent"),
    [
        (SQLITE, "sqlalchemy"),
        (SQLITE, "bcrypt"),
        (SQLITE, "cryptography"),
        (POSTGRESQL, "psycopg"),
    ],
)
def test_a_missing_package_stops_the_start(problems, without, url, absent):
    without(absent)
    [(key, _, reason)] = problems(f"{BASE}    index: {{database: '{url}'}}\n")
    assert key == "dev.index.database"
    assert reason.lower().startswith(f"needs {absent}, which is not installed: pip install -r")


def test_sqlite_does_without_psycopg(load, without):
    without("psycopg")
    assert load(f"{BASE}    index: {{database: '{SQLITE}'}}\n").is_index


def test_accounts_in_a_temporary_folder_give_a_warning(load):
    [text] = load(f"{BASE}    index: {{database: 'sqlite:////tmp/index.db'}}\n").warnings
    assert text.startswith("dev.index.database: /tmp/index.db is in a temporary folder")


@pytest.mark.parametrize(
    "written", ["access: []", "accounts: {user_header: X-User}", "ldap: {url: ldap://h, base: x}"]
)
def test_accounts_are_in_one_place(problems, written):
    found = problems(f"{BASE}    index: {{database: '{SQLITE}'}}\n    {written}\n")
    reason = "must not be set together with accounts or access"
    assert [text.partition(":")[0] for key, _, text in found if key == "dev.index.database"] == [
        reason
    ]


# -- alone ------------------------------------------------------------------------------


def test_an_index_without_a_registry_needs_no_store(load):
    text = "dev: {standalone: true, registry_endpoints: one.example, index: {alone: true, database:"
    config = load(f"{text} '{SQLITE}'}}}}\n")
    assert (config.is_index, config.index.alone, dict(config.storage)) == (True, True, {})


def test_required_options_of_an_index_without_a_registry(problems):
    assert [(key, reason.partition(":")[0]) for key, _, reason in
            problems(f"{BASE}    index: {{alone: true}}\n")] == [
        ("dev.index.database", "must be set for an index without a registry (index.alone)"),
        ("dev.registry_endpoints", "must be set"),
    ]  # fmt: skip


def test_the_environment():
    environ = {
        "SETTINGS_FLAVOR": "local",
        "INDEX_DATABASE": SQLITE,
        "INDEX_ALONE": "true",
        "REGISTRY_ENDPOINTS": "a.example,b.example",
        "INDEX_SIGN_UP": "invitation",
        "INDEX_PRIVATE": "true",
        "INDEX_LISTS_GRANT": "true",
        "INDEX_TOKEN_LIFE": "10m",
        "INDEX_CONNECTIONS": "2",
        "INDEX_DATABASE_TIMEOUT": "3",
        "INDEX_REPAIR_INTERVAL": "0",
    }
    index = load_config(environ=environ).index
    assert index == IndexOptions(SQLITE, True, "invitation", True, True, 600, 2, 3, 0, 86400, 10)


# -- the search of 0.x --------------------------------------------------------------------


def searching(load, url: str, backend: str = "sqlalchemy"):
    return load(f"{BASE}    search_backend: {backend}\n    sqlalchemy_index_database: '{url}'\n")


@pytest.mark.parametrize("url", [SQLITE, POSTGRESQL])
def test_a_database_for_the_search_only(load, url):
    config = searching(load, url)
    assert (config.database, config.is_index, config.warnings) == (url, False, ())
    assert searching(load, url, "false").database is None


def test_an_index_searches_its_own_database(load):
    text = f"    search_backend: true\n    sqlalchemy_index_database: '{POSTGRESQL}'\n"
    assert load(f"{BASE}{text}    index: {{database: '{SQLITE}'}}\n").database == SQLITE


def test_the_default_of_0x_is_not_used(load):
    config = searching(load, OLD_DEFAULT)
    assert (config.database, config.warnings) == (None, ())


@pytest.mark.parametrize(
    ("url", "reason"), [("mysql://u:hush@h/d", "must be sqlite:"), (SQLITE, "needs SQLAlchemy")]
)
def test_an_unusable_search_database_does_not_stop_the_start(load, without, url, reason):
    without("sqlalchemy")
    config = searching(load, url)
    assert config.database is None
    [text] = config.warnings
    assert text.startswith(f"dev.sqlalchemy_index_database: {reason}")
    assert text.endswith("until then the search reads the names from the store")
    assert "hush" not in text
