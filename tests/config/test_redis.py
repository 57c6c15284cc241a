"""The Redis of the configuration: both sections of 0.x, the URL, masked passwords, the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.config.texts import BASE
from v1registry.config import load_config
from v1registry.config.load import PROJECT
from v1registry.config.redis import Redis, parse
from v1registry.config.show import as_yaml

A, B = Redis("a", 6379, 0, None), Redis("b", 6380, 3, "hush")


@pytest.mark.parametrize(
    ("written", "used", "warned"),
    [
        ("cache: {host: a}", A, []),
        ("cache_lru: {host: a}", A, []),
        ("cache: {host: b, port: 6380, db: 3, password: hush}", B, []),
        ("cache: {host: ~, port: ~, db: ~}", None, []),
        ("cache: {host: '', port: 6380}", None, []),
        ("cache: ~", None, []),
        ("cache: {host: a}\n    cache_lru: {host: a, port: 6379}", A, []),
        ("cache: {host: a}\n    cache_lru: {host: a, db: 1}", A, ["cache_lru"]),
        ("cache: {port: 1}\n    cache_lru: {host: a}", A, []),
        ("cache_url: 'redis://:hush@b:6380/3'", B, []),
        ("cache_url: 'redis://b:6380/3'\n    cache: {password: hush}", B, []),
        ("cache_url: 'redis://a'\n    cache: {host: a}", A, []),
        (
            "cache_url: 'redis://a'\n    cache: {host: b}\n    cache_lru: {host: b}",
            A,
            ["cache", "cache_lru"],
        ),
    ],
)
def test_one_redis_is_used(load, written, used, warned):
    config = load(f"{BASE}    {written}\n")
    assert config.redis == used
    assert [text.partition(": ")[0] for text in config.warnings] == [f"dev.{key}" for key in warned]


def test_variables_of_0x():
    environ = {
        "SETTINGS_FLAVOR": "local",
        "STORAGE_PATH": "/srv/registry",
        "CACHE_REDIS_HOST": "b",
        "CACHE_REDIS_PORT": "6380",
        "CACHE_REDIS_DB": "3",
        "CACHE_REDIS_PASSWORD": "1234",  # YAML would make a number of it
        "CACHE_LRU_REDIS_HOST": "a",
        "CACHE_LRU_REDIS_PASSWORD": "hush",
    }
    config = load_config(environ=environ)
    assert config.redis == Redis("b", 6380, 3, "1234")
    [warning] = config.warnings
    assert warning.startswith(
        "local.cache_lru: has no effect: cache already names the one shared cache"
    )
    for name in ("CACHE_REDIS_HOST", "CACHE_REDIS_PASSWORD"):
        del environ[name]
    assert load_config(environ=environ).redis == Redis("a", 6379, 0, "hush")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", Redis("h", 6379, 0, None)),
        ("redis://h:1/2", Redis("h", 1, 2, None)),
        ("redis://u:p%40%2F@[::1]:1/", Redis("::1", 1, 0, "p@/", "u")),
        ("rediss://u@h", Redis("h", 6379, 0, None, "u", tls=True, ca="/ca.pem")),
        ("unix:///run/redis.sock", Redis(None, 0, 0, None, socket="/run/redis.sock")),
        ("unix://:p@/r?db=4", Redis(None, 0, 4, "p", socket="/r")),
    ],
)
def test_urls(url, expected):
    assert parse(url, ca="/ca.pem") == expected


@pytest.mark.parametrize(
    "url",
    [
        "redis:///1",
        "redis://h:x",
        "redis://h:70000",
        "redis://:p@ss@h",
        "redis://:p/ss@h",
        "redis://h/x",
        "redis://h/²",
        "redis://h/99999999999",
        "redis://h?password=p",
        "redis://h#p",
        "http://h",
        "h:6379",
        "unix://h/run",
        "unix://",
        "unix:///r?db=x",
        "unix:///r?password=p",
        "redis://[::1",
    ],
)
def test_refused_urls_are_not_shown(problems, url):
    [(key, _, reason)] = problems(f"{BASE}    cache_url: '{url}'\n")
    assert key == "dev.cache_url"
    assert reason.startswith("must be redis://")
    assert f"{url}'" not in reason


@pytest.mark.parametrize("prefix", ["ours", "ours:", "a:b:", "7", "{a}"])
def test_prefixes(load, prefix):
    text = f"{BASE}    cache_prefix: _env:CACHE_PREFIX\n"
    assert load(text, {"CACHE_PREFIX": prefix}).cache_prefix == prefix
    assert load(text).cache_prefix is None


@pytest.mark.parametrize("prefix", ["cache_path:", "cache_path:/x", "''", "a b", "ü", "a\\nb"])
def test_refused_prefixes(problems, prefix):
    written = prefix if prefix.startswith("'") else f'"{prefix}"'
    [(key, _, reason)] = problems(f"{BASE}    cache_prefix: {written}\n")
    assert (key, reason[:5]) == ("dev.cache_prefix", "must ")


def test_passwords_are_shown_nowhere(load):
    text = f"""{BASE}
    cache: {{host: a, password: hush}}
    cache_lru: {{host: b, password: hush}}
    cache_url: "redis://user:hush@c:1/2"
    """
    config = load(text.replace("\n    \n", "\n"))
    shown = as_yaml(config)
    assert "redis://********@c:1/2" in shown
    for words in (shown, repr(config), repr(config.redis), config.redis.address, *config.warnings):
        assert "hush" not in words


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("cache: {host: a}", "cache.host"),
        ("cache_lru: {host: a}", "cache_lru.host"),
        ("cache_url: 'redis://a'", "cache_url"),
    ],
)
def test_without_the_package_redis_the_start_fails(tmp_path, written, key):
    (tmp_path / "a.yml").write_text(f"{BASE}    {written}\n")
    code = (
        "import sys; sys.modules['redis'] = None\n"  # as if it were not installed
        "from v1registry.commands.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "config", "--check", str(tmp_path / "a.yml")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"v1registry: {tmp_path}/a.yml:5: dev.{key}: needs the package redis")
    assert "pip install -r requirements-redis.txt" in line


def test_redis_is_imported_only_when_configured(tmp_path):
    code = (
        "import sys\n"
        "from v1registry.config import load_config\n"
        "from v1registry.wiring.registry import build_registry\n"
        "build_registry(load_config(environ={'SETTINGS_FLAVOR': 'test',"
        " 'STORAGE_PATH': sys.argv[1]}))\n"
        "assert 'redis' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=PROJECT, check=True, timeout=60)
