"""The options: kinds, contradictions, and agreement with config.yml and the documentation."""

from __future__ import annotations

import dataclasses
import itertools
import re
import subprocess
import sys
import typing
from collections.abc import Mapping

import pytest
import yaml

from tests.config.texts import BASE, NO_SUCH_DRIVER
from tests.tls import make_certificate
from v1registry.config import Config, document, legacy, load_config
from v1registry.config.drivers import DRIVERS, STORAGE, TABLES
from v1registry.config.drivers.s3 import ProxyOptions
from v1registry.config.environment import reference
from v1registry.config.kinds import KINDS
from v1registry.config.load import PROJECT
from v1registry.config.option import Option, options_of
from v1registry.config.schema import OPTIONS
from v1registry.config.show import as_yaml
from v1registry.config.tables.server import TlsOptions

# where config.yml shows each option: the flavor, and the option
SHOWN = [("common", option) for option in OPTIONS]
SHOWN += [("local", option) for option in (STORAGE, *DRIVERS["local"])]
SHOWN += [
    ("cloudfronts3" if option.key.startswith("cloudfront.") else driver, option)
    for driver, options in DRIVERS.items()
    if driver not in ("local", "file")
    for option in options
]
EVERY = [option for _, option in SHOWN]
GROUPS = {field.name for field in dataclasses.fields(Config) if "table" in field.metadata}
# options of more than one driver
SHARED = {"storage_path", "boto_bucket", *(option.key for option in options_of(ProxyOptions))}


def value_of(config, key):
    for name in key.split("."):
        config = getattr(config, name)
    return config


# -- kinds ----------------------------------------------------------------------------------------

KIB, MIB, GIB = 1024, 1024**2, 1024**3


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("v2.hosts", "[]", ()),
        ("v2.hosts", "[a.example, 'b.example:5000']", ("a.example", "b.example:5000")),
        ("v2.hosts", "'a.example, b.example:5000,'", ("a.example", "b.example:5000")),
        ("v2.hidden_from", "docker/17.", ("docker/17.",)),
        ("limits.layer", "0", 0),
        ("limits.layer", "1000", 1000),
        ("limits.layer", "'1000'", 1000),
        ("limits.layer", "512KiB", 512 * KIB),
        ("limits.layer", "4 MiB", 4 * MIB),
        ("limits.layer", "1GB", 1000**3),
        ("limits.layer", "1.5g", 3 * GIB // 2),
        ("limits.layer", "2T", 2 * 1024**4),
        ("limits.layer", "9b", 9),
        ("cache_life", "0", 0),
        ("cache_life", "90s", 90),
        ("cache_life", "30m", 1800),
        ("cache_life", "1h30m", 5400),
        ("cache_life", "7d", 604800),
        ("cache_life", "1w", 604800),
        ("cache_life", "'60'", 60),
        ("debug", "yes", True),
        ("debug", "1", True),
        ("debug", "0", False),
        ("debug", "~", False),
        ("loglevel", "WARNING", "warning"),
        ("log_format", "json", "json"),
        ("search_backend", "sqlalchemy", True),
        ("search_backend", "true", True),
        ("search_backend", "false", False),
        ("search_backend", "''", False),
        ("search_backend", "~", False),
        ("disable_token_auth", "1", False),
        ("disable_token_auth", "'true'", False),
        ("disable_token_auth", "true", True),
        ("registry_endpoints", "[a.example, 'b.example:5000']", "a.example, b.example:5000"),
        ("trusted_proxies", "[]", ()),
        ("trusted_proxies", "10.0.0.1", ("10.0.0.1",)),
        ("trusted_proxies", "'10.0.0.0/8, ::1,'", ("10.0.0.0/8", "::1")),
        ("trusted_proxies", "[10.0.0.1/32, 'fd00::/8']", ("10.0.0.1", "fd00::/8")),
        ("issue", "''", ""),
        ("extensions", "{}", {}),
    ],
)
def test_values(load, key, written, value):
    *group, name = key.split(".")
    text = f"{name}: {written}" if not group else f"{group[0]}: {{{name}: {written}}}"
    assert value_of(load(f"{BASE}    {text}\n"), key) == value


@pytest.mark.parametrize(
    ("written", "key", "reason"),
    [
        ("debug: maybe", "debug", "must be true or false, not 'maybe'"),
        ("debug: 2", "debug", "must be true or false, not 2"),
        ("loglevel: loud", "loglevel", "must be one of debug, info, "),
        ("loglevel: {}", "loglevel", "must be one of debug, info, "),
        ("log_format: xml", "log_format", "must be one of plain, json, not 'xml'"),
        ("issue: 5", "issue", "must be text (put it in quotes), not 5"),
        ('issue: "a\\nb"', "issue", "must be text without line breaks"),
        (
            'registry_endpoints: "a\\r\\nSet-Cookie: b"',
            "registry_endpoints",
            "must be text without",
        ),
        ("registry_endpoints: [a, 5]", "registry_endpoints", "must be text (put it in quotes)"),
        ("registry_endpoints: ü.example", "registry_endpoints", "must be hosts, in ASCII"),
        ("search_backend: 5", "search_backend", "must be true, false or sqlalchemy"),
        ("limits: 5", "limits", "must be a mapping, not 5"),
        ("limits: [json]", "limits", "must be a mapping, not this list"),
        ("limits: {layer: 4 bananas}", "limits.layer", "must be a size such as"),
        ("limits: {layer: -1}", "limits.layer", "must be at least 0, not -1"),
        ("limits: {layer: true}", "limits.layer", "must be a size such as"),
        ("limits: {layer: 1.5}", "limits.layer", "must be a size such as"),
        ("limits: {layer: 999999999T}", "limits.layer", "must be smaller"),
        ("limits: {json: 1000}", "limits.json", "must be at least 1024, not 1000"),
        ("limits: {files_entries: 1k}", "limits.files_entries", "must be a whole number, not '1k'"),
        ("limits: {upload_seconds: soon}", "limits.upload_seconds", "must be a time such as"),
        ("uploads_life: 0", "uploads_life", "must be at least 1, not 0"),
        ("cache_life: 1x", "cache_life", "must be a time such as 3600, 30m, 1h or 7d, not '1x'"),
        ("v2: {hosts: 5}", "v2.hosts", "must be a list of texts, not 5"),
        ("v2: {hosts: [5]}", "v2.hosts", "must be text"),
        ("v2: {hidden_from: [é]}", "v2.hidden_from", "must be a list of texts, in ASCII"),
        ("trusted_proxies: {}", "trusted_proxies", "must be a list of IP addresses and networks"),
        ("trusted_proxies: [proxy]", "trusted_proxies", "must be a list of IP addresses"),
        ("trusted_proxies: [10.0.0.1/8]", "trusted_proxies", "must be a list of IP addresses"),
        ("trusted_proxies: [5]", "trusted_proxies", "must be a list of IP addresses"),
        ("trusted_proxies: '*'", "trusted_proxies", "must be a list of IP addresses"),
        ("extensions: {acme: {veto: true}}", "extensions", "must be empty: this version runs no"),
        ("nginx_x_accel_redirect: layers", "nginx_x_accel_redirect", "must be a path that begins"),
        ("storage_pth: /x", "storage_pth", "unknown key; do you mean storage_path?"),
        ("limits: {jsn: 1}", "limits.jsn", "unknown key; do you mean json?"),
        ("wholly_new: 1", "wholly_new", "unknown key"),
        ("5: 1", "5", "unknown key"),
        ("_env:X: 1", "_env:X", "unknown key"),
    ],
)
def test_refused_values(problems, written, key, reason):
    [(found, line, text)] = problems(f"{BASE}    {written}\n")
    assert (found, line) == (f"dev.{key}", 5)
    assert text.startswith(reason)


# -- contradictions -------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["false", "1", "'true'", "'yes'", "{}"])
def test_neither_standalone_nor_an_index_stops_the_start(problems, written):
    [(key, line, reason)] = problems(BASE.replace("standalone: true", f"standalone: {written}"))
    assert (key, line) == ("dev.standalone", 2)
    assert reason.startswith("must be true, or there must be an index that decides who may do what")


@pytest.mark.parametrize("written", ["", "standalone: ~", "standalone: _env:STANDALONE:true"])
def test_a_missing_value_does_not_mean_standalone(problems, written):
    text = BASE.replace("standalone: true", written)
    [(key, _, reason)] = problems(text, {"STANDALONE": ""})
    assert key == "dev.standalone"
    assert reason.startswith("must be set, as in `standalone: true`")


def test_storage_and_its_path_must_be_set(problems):
    assert problems("dev: {standalone: true}") == [
        ("dev.storage", None, "must be set, as in `storage: local`")
    ]
    assert problems("dev: {standalone: true, storage: file}") == [
        ("dev.storage_path", None, "must be set, as in `storage_path: ./data`")
    ]


@pytest.mark.parametrize(("one", "other"), [("certificate", "key"), ("key", "certificate")])
def test_certificate_and_key_must_both_be_set(problems, tmp_path, one, other):
    (tmp_path / "x.pem").touch()
    reason = "must be set: https needs a certificate and its key"
    text = f"{BASE}    tls: {{{one}: {tmp_path}/x.pem}}\n"
    assert problems(text) == [(f"dev.tls.{other}", None, reason)]


def test_certificate_and_key_must_exist(load, problems, tmp_path):
    text = f"{BASE}    tls: {{certificate: {tmp_path}/c.pem, key: {tmp_path}/k.pem}}\n"
    assert [(key, reason) for key, _, reason in problems(text)] == [
        ("dev.tls.certificate", f"no such file: {tmp_path}/c.pem"),
        ("dev.tls.key", f"no such file: {tmp_path}/k.pem"),
    ]
    made = make_certificate(tmp_path / "made")
    made.certificate.rename(tmp_path / "c.pem")
    made.key.rename(tmp_path / "k.pem")
    assert load(text).tls == TlsOptions(f"{tmp_path}/c.pem", f"{tmp_path}/k.pem")


def test_all_problems_are_listed_in_the_order_of_the_file(load):
    text = """
    dev:
        storage: azureblob
        debug: maybe
        nonsense: 1
        limits: {json: x, other: 1}
        standalone: false
        issue: 2014-99-99
    """
    with pytest.raises(ValueError) as caught:
        load(text)
    assert [re.sub(r"^.*config\.yml", "", line) for line in str(caught.value).splitlines()] == [
        f":3: dev.storage: driver 'azureblob' {NO_SUCH_DRIVER}",
        ":4: dev.debug: must be true or false, not 'maybe'",
        ":5: dev.nonsense: unknown key",
        ":6: dev.limits.json: must be a size such as 4194304, 4MiB or 1GB, not 'x'",
        ":6: dev.limits.other: unknown key",
        ":7: dev.standalone: must be true, or there must be an index that decides who may do what: set"
        " index_endpoint or index_keys; without one, the registry would be open by accident",
        ":8: dev.issue: not a value of the YAML type timestamp",
    ]


# -- warnings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "warned"),
    [
        ("/tmp/registry", True),
        ("/tmp", True),
        ("/var/tmp/x", True),
        ("/tmpfoo/registry", False),
        ("/srv/registry", False),
        ("/srv/../tmp/x", True),
    ],
)
def test_temporary_folder_gives_a_warning(load, folder, warned):
    config = load(BASE.replace("/srv/registry", folder))
    assert [text.partition(" ")[0] for text in config.warnings] == ["dev.storage_path:"] * warned


def test_memory_gives_a_warning(load):
    config = load("dev: {standalone: true, storage: MEMORY, storage_path: /x}")
    assert dict(config.storage) == {"storage": "memory"}
    assert [text.partition(":")[0] for text in config.warnings] == ["dev.storage"]


def test_keys_of_other_drivers_give_no_warning(load):
    text = "".join(f"    {key}: {{a: 1}}\n" for key in sorted(legacy.OTHER_DRIVERS))
    assert load(BASE + text).warnings == ()


@pytest.mark.parametrize("unused", legacy.UNUSED_KEYS, ids=lambda unused: unused.key)
def test_unused_keys_give_one_warning_when_set(load, unused):
    value = (
        "{" + ", ".join(f"{name}: x" for name in unused.triggers) + "}" if unused.triggers else "x"
    )
    config = load(f"{BASE}    {unused.key}: {value}\n")
    assert config.warnings == (f"dev.{unused.key}: {unused.replaced_by}",)
    for nothing in ("~", "''", "false", "{}"):
        assert load(f"{BASE}    {unused.key}: {nothing}\n").warnings == ()


def test_new_relic_of_the_environment(load):
    environ = {"NEW_RELIC_CONFIG_FILE": "/etc/newrelic.ini"}
    [text] = load(BASE, environ).warnings
    assert text.startswith("variable NEW_RELIC_CONFIG_FILE: has no effect")


# -- a driver's own options -----------------------------------------------------------------------


def test_a_driver_declares_its_own_options(load, problems):
    options = (
        Option(key="bucket", kind="text", help="Where.", required=True, default="images"),
        Option(key="bucket_secret", kind="number", help="What with.", secret=True),
    )
    drivers = {**DRIVERS, "s9": options}
    text = "dev: {standalone: true, storage: s9, bucket: b, bucket_secret: 5}"
    config = load(text, drivers=drivers)
    assert dict(config.storage) == {"storage": "s9", "bucket": "b", "bucket_secret": 5}
    text = "dev: {standalone: true, storage: s9, bucket_secret: hush}"
    assert problems(text, drivers=drivers) == [
        ("dev.bucket", None, "must be set, as in `bucket: images`"),
        ("dev.bucket_secret", 1, "must be a whole number"),  # the value is not shown
    ]


# -- the table, the dataclasses, config.yml and the documents ---------------------------------------


def test_every_option_has_a_help():
    tables = [Config, *itertools.chain(*TABLES.values())]
    for option in options_of(*tables, helps=True):
        assert option.help.endswith("."), option.key


def test_values_have_the_types_that_the_dataclasses_say():
    config = load_config(environ={})
    groups = [getattr(config, name) for name in GROUPS]
    for holder in (config, *groups):
        hints = typing.get_type_hints(type(holder))
        for field in dataclasses.fields(holder):
            kind = hints[field.name]
            kind = (
                Mapping if typing.get_origin(kind) is not None and "Mapping" in str(kind) else kind
            )
            kind = tuple if typing.get_origin(kind) is tuple else kind
            kind = tuple | None if "tuple" in str(kind) and "None" in str(kind) else kind
            assert isinstance(getattr(holder, field.name), kind), field.name


def test_config_is_frozen():
    config = load_config(environ={})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.debug = False
    with pytest.raises(TypeError):
        config.storage["storage_path"] = "/elsewhere"


def test_keys_kinds_and_variables_are_sound():
    keys = [option.key for option in EVERY if option.key not in SHARED] + [
        unused.key for unused in legacy.UNUSED_KEYS
    ]
    keys += list(legacy.OTHER_DRIVERS)
    assert len(keys) == len(set(keys))
    for options in DRIVERS.values():  # those of OpenStack mean an account for several drivers
        variables = [option.variable for option in (*OPTIONS, *options) if option.variable]
        assert len(variables) == len(set(variables))
    for option in EVERY:
        assert option.kind in KINDS
        option.check(option.default)


RAW = yaml.safe_load((PROJECT / "config.yml").read_text())


@pytest.mark.parametrize(("flavor", "option"), SHOWN, ids=[f"{f}-{o.key}" for f, o in SHOWN])
def test_config_yml_has_every_option_with_its_default_and_variable(flavor, option):
    *group, name = option.key.split(".")
    written = (RAW[flavor][group[0]] if group else RAW[flavor])[name]
    named = reference(written) if isinstance(written, str) else None
    assert (named.variable if named else None) == option.variable
    value = yaml.safe_load(named.default) if named else written
    assert option.check(value if value is not None else option.default) == option.check(
        option.default
    )
    if option.default is None:
        assert value is None


def test_config_yml_has_no_unknown_options():
    for flavor in RAW.values():
        assert set(flavor) <= {option.key.partition(".")[0] for option in EVERY}
        for key, value in flavor.items():
            if isinstance(value, dict):
                names = {f"{key}.{name}" for name in value}
                assert names <= {option.key for option in EVERY}


def test_config_yml_has_a_comment_above_every_key():
    lines = (PROJECT / "config.yml").read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        key = re.match(r" +([a-z_]+):", line)
        if key and key[1] not in {*GROUPS, "cloudfront"}:
            assert re.match(r" *#", above), line


@pytest.mark.parametrize("flavor", ["local", "dev", "test"])
def test_every_flavor_of_config_yml_starts(flavor):
    config = load_config(environ={"STORAGE_PATH": "/srv/registry", "SETTINGS_FLAVOR": flavor})
    assert config.warnings == ()
    assert config.search_backend is True


def test_variables_of_config_yml_have_an_effect():
    environ = {
        "SETTINGS_FLAVOR": "local",
        "LIMITS_LAYER": "10GiB",
        "UPLOADS_LIFE": "7d",
        "TRUSTED_PROXIES": "[10.0.0.0/8, fd00::/8]",
        "LOG_FORMAT": "json",
        "SEARCH_BACKEND": "false",
        "NGINX_X_ACCEL_REDIRECT": "/layers",
    }
    config = load_config(environ=environ)
    assert (config.limits.layer, config.uploads_life) == (10 * GIB, 604800)
    assert config.trusted_proxies == ("10.0.0.0/8", "fd00::/8")
    assert (config.log_format, config.search_backend) == ("json", False)
    assert config.storage["nginx_x_accel_redirect"] == "/layers"


def test_the_generated_tables_are_current():
    page = (PROJECT / "docs" / "configuration.md").read_text()
    for option in EVERY:
        assert f"| `{option.key}` |" in page
    assert document.page(page) == page, "run python -m v1registry.config.document"


# -- showing --------------------------------------------------------------------------------------


def test_shown_values_are_a_file_with_the_same_meaning(load, tmp_path):
    config = load(f"{BASE}    limits: {{layer: 1GB}}\n    trusted_proxies: [10.0.0.0/8]\n")
    shown = as_yaml(config)
    assert shown.startswith(f"# flavor dev of {tmp_path}/config.yml\n")
    again = load(yaml.safe_dump({"dev": yaml.safe_load(shown)}))
    assert again == config


def test_secrets_are_masked(load):
    config = load(f"{BASE}    registry_endpoints: https://user:hush@example.org/x\n")
    free_form = {
        "mail": {"password": "hush", "port": 25, "login": "ann"},
        "hooks": [{"api_token": "hush"}],
        "url": "redis://:hush@redis/0",
    }
    shown = as_yaml(dataclasses.replace(config, extensions=free_form))
    assert "hush" not in shown
    assert "login: ann" in shown
    assert "https://********@example.org/x" in shown


def test_import_is_light():
    heavy = ("flask", "gevent", "gunicorn", "click", "ssl")
    code = f"import sys, v1registry.config; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
