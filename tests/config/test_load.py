"""Files, flavors, inheritance and variables; and unchanged files of docker-registry 0.x."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.texts import BASE, NO_SUCH_DRIVER
from v1registry.config import ConfigError, load_config
from v1registry.config.load import PROJECT, Document, find
from v1registry.config.reader import YamlReader, compose
from v1registry.config.redis import Redis
from v1registry.config.show import as_yaml

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "config"
SAMPLE = FIXTURES / "original-sample.yml"

# -- the files of 0.x ---------------------------------------------------------------------------

INDEX = "index_endpoint: has no effect: a standalone registry uses no index"
TEMPORARY = (
    "storage_path: /tmp/registry is in a temporary folder: images may be lost at the next restart"
)


@pytest.mark.parametrize(
    ("flavor", "path", "level", "search", "warnings"),
    [
        ("local", "/tmp/registry", "info", False, [INDEX, TEMPORARY]),
        ("dev", "/tmp/registry", "debug", True, [INDEX, TEMPORARY]),
        ("test", "./tmp/test", "debug", True, [INDEX]),
    ],
)
def test_original_sample_starts(monkeypatch, flavor, path, level, search, warnings):
    monkeypatch.chdir("/etc")  # ./tmp/test must not lie in a temporary folder by chance
    config = load_config(SAMPLE, {"SETTINGS_FLAVOR": flavor})
    assert config.storage == {
        "storage": "local",
        "storage_path": path,
        "nginx_x_accel_redirect": None,
    }
    assert (config.flavor, config.loglevel, config.search_backend) == (flavor, level, search)
    assert config.issue == '"docker-registry server"'
    assert list(config.warnings) == [f"{flavor}.{text}" for text in warnings]


@pytest.mark.parametrize(
    ("flavor", "driver"),
    [
        ("azureblob", "azureblob"),
        ("elliptics", "elliptics"),
        ("oss", "alioss"),
    ],
)
def test_original_sample_names_missing_drivers(flavor, driver):
    with pytest.raises(ConfigError) as caught:
        load_config(SAMPLE, {"SETTINGS_FLAVOR": flavor})
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{SAMPLE}:")
    assert line.endswith(f"{flavor}.storage: driver {driver!r} {NO_SUCH_DRIVER}")


OPENSTACK = {
    "OS_AUTH_URL": "http://keystone.example:5000/v2.0/",
    "OS_USERNAME": "12345",
    "OS_PASSWORD": "0x1",
    "OS_TENANT_NAME": "tenant",
    "OS_REGION_NAME": "one",
    "OS_CONTAINER": "images",
}


@pytest.mark.parametrize(
    ("flavor", "alternate", "path"),
    [
        ("glance", "file", "/tmp/registry"),
        ("openstack", "file", "/tmp/registry"),
        ("glance-swift", "swift", "/registry"),
        ("openstack-swift", "swift", "/registry"),
    ],
)
def test_original_sample_starts_on_glance(flavor, alternate, path):
    """docker-registry 0.x read OpenStack's variables itself: the file does not name them."""
    environ = {"SETTINGS_FLAVOR": flavor, "OS_GLANCE_URL": "http://glance:9292/v1", **OPENSTACK}
    config = load_config(SAMPLE, environ)
    assert config.storage["storage"] == "glance"
    assert config.storage["storage_alternate"] == alternate
    assert config.storage["storage_path"] == path
    found = {key: config.storage[f"glance_{key}"] for key in ("url", "authurl", "user", "password")}
    assert found == {
        "url": "http://glance:9292/v1",
        "authurl": "http://keystone.example:5000/v2.0/",
        "user": "12345",
        "password": "0x1",
    }
    assert ("swift_container" in config.storage) == (alternate == "swift")
    warned = [text.partition(":")[0] for text in config.warnings]
    assert (f"{flavor}.storage_path" in warned) == (alternate == "file")  # a temporary folder
    # what load_config reads is what our own sample reads
    path_now = "./data" if alternate == "file" else path
    assert load_config(environ=environ).storage == {**config.storage, "storage_path": path_now}
    assert "0x1" not in as_yaml(config)
    assert f"storage_path: {path}" in as_yaml(config)


def test_the_file_takes_precedence_over_outside_variables(load):
    text = """
    dev: {standalone: true, storage: glance, storage_path: /srv/x, glance_url: http://a}
    prod: {standalone: true, storage: glance, storage_path: /srv/x, glance_authurl: ~}
    """
    environ = {**OPENSTACK, "OS_GLANCE_URL": "http://b"}
    assert load(text, environ).storage["glance_url"] == "http://a"
    prod = load(text, {**environ, "SETTINGS_FLAVOR": "prod"}).storage
    assert (prod["glance_url"], prod["glance_authurl"]) == ("http://b", None)


@pytest.mark.parametrize(
    ("more", "keys"),
    [
        ("", ["glance_url"]),
        ("glance_authurl: http://k", ["glance_user", "glance_password", "glance_tenant_name"]),
        ("glance_url: http://g, storage_alternate: glance", ["storage_alternate"]),
        ("glance_url: http://g, storage_alternate: s3", ["boto_bucket"]),
        ("glance_url: http://g, storage_path: ~", ["storage_path"]),
        ("glance_url: http://g, glance_visibility: all", ["glance_visibility"]),
    ],
)
def test_required_options_of_glance(problems, more, keys):
    path = "" if "storage_path" in more else "storage_path: /srv/x,"
    text = f"dev: {{standalone: true, storage: glance, {path} {more}}}"
    assert [key for key, _, _ in problems(text)] == [f"dev.{key}" for key in keys]


def test_errors_name_an_outside_variable(problems):
    text = "dev: {standalone: true, storage: glance, storage_path: /srv/x}"
    [(key, _, reason)] = problems(text, {"OS_GLANCE_URL": "a\nb"})
    assert key == "dev.glance_url"
    assert reason.endswith(r"(variable OS_GLANCE_URL), not 'a\nb'")


@pytest.mark.parametrize("key", ["storage_redirect", "nginx_x_accel_store"])
def test_glance_has_no_urls(load, key):
    value = "true" if key == "storage_redirect" else "/_store"
    text = "dev: {standalone: true, storage: glance, storage_path: /srv/x, glance_url: http://g"
    [warning] = load(f"{text}, {key}: {value}}}").warnings
    assert warning == f"dev.{key}: has no effect: Glance has no URLs for clients"


def test_original_sample_starts_on_swift():
    environ = {
        "SETTINGS_FLAVOR": "swift",
        "OS_AUTH_URL": "http://keystone.example:5000/v2.0/",
        "OS_CONTAINER": "images",
        "OS_USERNAME": "12345",
        "OS_PASSWORD": "0x1",
        "OS_TENANT_NAME": "tenant",
        "OS_REGION_NAME": "one",
    }
    storage = load_config(SAMPLE, environ).storage
    assert storage["storage_path"] == "/registry"
    assert storage["swift_authurl"] == "http://keystone.example:5000/v2.0/"
    assert (storage["swift_user"], storage["swift_password"]) == ("12345", "0x1")
    assert (storage["swift_tenant_name"], storage["swift_region_name"]) == ("tenant", "one")
    assert storage["swift_auth_version"] is None


@pytest.mark.parametrize(
    ("flavor", "path", "safe"),
    [
        ("s3", "/registry", True),
        ("cloudfronts3", "/registry", True),
        ("ceph-s3", "/registry", False),
        ("prod", "/prod", True),
    ],
)
def test_original_sample_starts_on_s3(flavor, path, safe):
    environ = {
        "SETTINGS_FLAVOR": flavor,
        "AWS_BUCKET": "images",
        "AWS_KEY": "AK",
        "AWS_SECRET": "SK",
        "AWS_HOST": "store.example",
        "AWS_PORT": "7480",
        "AWS_CALLING_FORMAT": "boto.s3.connection.OrdinaryCallingFormat",
        "STORAGE_REDIRECT": "true",
    }
    config = load_config(SAMPLE, environ)
    assert {key: value for key, value in config.storage.items() if value is not None} == {
        "storage": "s3",
        "boto_bucket": "images",
        "storage_path": path,
        "s3_access_key": "AK",
        "s3_secret_key": "SK",
        "s3_secure": safe,
        "s3_encrypt": safe,
        "s3_use_sigv4": True,
        "s3_part_size": 8 * 1024**2,
        "s3_upload_memory": 64 * 1024**2,
        "s3_conditional_writes": True,
        "s3_etag_is_md5": True,
        "s3_read_timeout": 30,
        "boto_host": "store.example",
        "boto_port": 7480,
        "boto_calling_format": "path",
    }
    assert config.storage_redirect is True
    # what load_config reads is what our own sample reads
    assert load_config(environ=environ).storage == config.storage


CLOUDFRONT = {"CF_BASE_URL": "https://d1.cloudfront.net", "CF_KEYID": "APK", "CF_KEYSECRET": "/k"}


def test_cloudfront_of_0x():
    environ = {"SETTINGS_FLAVOR": "cloudfronts3", "AWS_BUCKET": "b", **CLOUDFRONT}
    for file in (SAMPLE, None):
        config = load_config(file, environ)
        found = {key: value for key, value in config.storage.items() if "cloudfront" in key}
        assert list(found.values()) == ["https://d1.cloudfront.net", "APK", "/k"]
        text = "cloudfronts3.cloudfront: has no effect without storage_redirect: true"
        assert text in config.warnings
        redirecting = load_config(file, {**environ, "STORAGE_REDIRECT": "true"})
        assert text not in redirecting.warnings
        assert "keysecret: '********'" in as_yaml(redirecting)
    environ["SETTINGS_FLAVOR"] = "s3"
    assert load_config(environ=environ).storage["cloudfront.base"] is None


@pytest.mark.parametrize("missing", sorted(CLOUDFRONT))
def test_missing_options_of_cloudfront_stop_the_start(missing):
    environ = {"SETTINGS_FLAVOR": "cloudfronts3", "AWS_BUCKET": "b", **CLOUDFRONT, missing: ""}
    with pytest.raises(ConfigError, match=r"cloudfront\..*: must be set: CloudFront needs base"):
        load_config(environ=environ)


def test_wrong_values_of_cloudfront(problems):
    head = "dev: {standalone: true, storage: s3, boto_bucket: b, cloudfront: "
    assert problems(head + "{base: 'ftp://x', keyid: k, keysecret: hush hush, more: 1}}") == [
        (
            "dev.cloudfront.base",
            1,
            "must be a URL such as https://host.example/path, not 'ftp://x'",
        ),
        ("dev.cloudfront.more", 1, "unknown key"),
    ]
    assert problems(head + "no}") == [("dev.cloudfront", 1, "must be a mapping, not False")]


@pytest.mark.parametrize(
    "environ",
    [
        {"GCS_BUCKET": "images", "GCS_KEY": "GOOG1", "GCS_SECRET": "hush", "GCS_SECURE": "false"},
        {"GCS_BUCKET": "images", "GCS_OAUTH2": "true", "STORAGE_PATH": "/other"},
    ],
)
def test_original_sample_starts_on_gcs(environ):
    config = load_config(SAMPLE, {"SETTINGS_FLAVOR": "gcs", **environ})
    assert {key: value for key, value in config.storage.items() if value is not None} == {
        "storage": "gcs",
        "boto_bucket": "images",
        "storage_path": environ.get("STORAGE_PATH", "/registry"),
        **({"gs_access_key": "GOOG1", "gs_secret_key": "hush"} if "GCS_KEY" in environ else {}),
        "gs_secure": "GCS_SECURE" not in environ,
        "oauth2": "GCS_OAUTH2" in environ,
        "gcs_chunk_size": 8 * 1024**2,
        "gcs_upload_memory": 64 * 1024**2,
        "gcs_conditional_writes": True,
        "gcs_read_timeout": 30,
    }
    # what load_config reads is what our own sample reads
    assert load_config(environ={"SETTINGS_FLAVOR": "gcs", **environ}).storage == config.storage


@pytest.mark.parametrize(
    ("written", "style"),
    [
        ("path", "path"),
        ("boto.s3.connection.SubdomainCallingFormat", "virtual"),
        ("VHostCallingFormat", "virtual"),
        ("ProtocolIndependentOrdinaryCallingFormat", "path"),
    ],
)
def test_calling_formats(written, style):
    environ = {"SETTINGS_FLAVOR": "s3", "AWS_BUCKET": "b", "AWS_CALLING_FORMAT": written}
    assert load_config(environ=environ).storage["boto_calling_format"] == style


def test_no_bucket_and_odd_calling_format_stop_the_start():
    environ = {"SETTINGS_FLAVOR": "s3", "AWS_CALLING_FORMAT": "sideways"}
    with pytest.raises(ConfigError) as caught:
        load_config(environ=environ)
    assert [problem.key for problem in caught.value.problems] == [
        "s3.boto_bucket",
        "s3.boto_calling_format",
    ]


def test_all_flavors_of_the_sample_are_tested():
    assert len(Document(SAMPLE).flavors) == 16


def test_environment_of_a_0x_deployment():
    environ = {
        "SETTINGS_FLAVOR": "local",
        "STORAGE_PATH": "/srv/registry",
        "LOGLEVEL": "WARN",
        "DEBUG": "1",
        "SEARCH_BACKEND": "sqlalchemy",
        "NEW_RELIC_LICENSE_KEY": "0123",
        "SMTP_HOST": "mail.example.org",
        "BUGSNAG": "4567",
        "CACHE_REDIS_HOST": "redis",
        "CACHE_LRU_REDIS_HOST": "redis",
        "MIRROR_SOURCE": "https://registry-1.docker.io",
        "CORS_ORIGINS": "'*'",
        "DISABLE_TOKEN_AUTH": "true",
        "STORAGE_REDIRECT": "true",
        "PRIVILEGED_KEY": "/key.pem",
    }
    config = load_config(SAMPLE, environ)
    assert config.storage["storage_path"] == "/srv/registry"
    assert (config.loglevel, config.debug, config.search_backend) == ("warn", True, True)
    assert config.redis == Redis("redis", 6379, 0, None)
    assert [text.partition(": ")[0] for text in config.warnings] == [
        "local.privileged_key",
        "local.mirroring",
        "local.email_exceptions",
        "local.bugsnag",
        "local.cors",
        "variable NEW_RELIC_LICENSE_KEY",
        "local.index_endpoint",
        "local.disable_token_auth",
        "local.storage_redirect",
    ]


def test_bugsnag_new_relic_and_elliptics_start():
    config = load_config(FIXTURES / "everything-on.yml", {}, "prod")
    assert [text.partition(": ")[0].removeprefix("prod.") for text in config.warnings] == [
        "privileged_key",
        "mirroring",
        "email_exceptions",
        "bugsnag",
        "cors",
        "newrelic",
        "secret_key",
        "index_endpoint",
        "disable_token_auth",
        "search_backend",
        "storage_redirect",
    ]
    assert config.storage["nginx_x_accel_redirect"] == "/layers/"
    assert config.search_backend is True
    with pytest.raises(ConfigError, match="driver 'elliptics' is not available"):
        load_config(FIXTURES / "everything-on.yml", {}, "elliptics")


def test_common_of_0_6_9_is_merged_below():
    config = load_config(FIXTURES / "r069.yml", {})
    assert config.storage["storage_path"] == "/srv/dev"
    assert config.loglevel == "debug"  # the flavor's own, not common's
    assert config.redis == Redis("localhost", 6379, 0, None)
    assert [text.partition(": ")[0] for text in config.warnings] == [
        "dev.smtp_host",
        "dev.from_addr",
        "dev.to_addr",
    ]


def test_common_is_below_flavors_that_inherit_from_another_flavor(load):
    # docker-registry up to 0.7.3: `common` belongs to every flavor, named by `<<` or not
    text = """
    common:
        loglevel: error
        standalone: true
        cache_lru: {host: redis.example.org, port: 6379}
    base: &base
        storage: memory
        uploads_life: 2d
    dev:
        <<: *base
        uploads_life: 3d
    """
    config = load(text)
    assert (config.loglevel, config.standalone) == ("error", True)
    assert config.redis == Redis("redis.example.org", 6379, 0, None)
    assert config.uploads_life == 3 * 86400


def test_inherited_values_take_precedence_over_common(load):
    text = """
    common: {loglevel: error, standalone: true, storage: memory}
    base: &base {loglevel: warn}
    dev: {<<: *base}
    """
    assert load(text).loglevel == "warn"


def test_bucket_of_a_file_of_0_6():
    config = load_config(FIXTURES / "r069.yml", {}, "prod")
    assert config.storage["boto_bucket"] == "images"
    assert config.storage["storage_path"] == "/prod"


def test_boto_bucket_takes_precedence_over_s3_bucket(load):
    text = """
    dev: {standalone: true, storage: s3, s3_bucket: older, boto_bucket: later}
    """
    assert load(text).storage["boto_bucket"] == "later"


@pytest.mark.parametrize("key", ["s3_access_key", "s3_secret_key"])
def test_half_a_key_pair_of_s3_stops_the_start(problems, key):
    [(found, _, reason)] = problems(
        f"dev: {{standalone: true, storage: s3, boto_bucket: b, {key}: x}}"
    )
    other = ({"s3_access_key", "s3_secret_key"} - {key}).pop()
    assert (found, reason) == (
        f"dev.{other}",
        f"must be set, because {key} is; or leave out both",
    )


KEYS_OF_0X = [
    ("debug_versions: false", 0),
    ("debug_versions: true", 1),
    ("cloud_sdk_path: /opt/cloud", 1),
    ("glance_endpoint: http://glance:9292", 1),
    ("cache: true", 1),
    # drivers of other packages, in a `common` for all flavors
    ("jss_domain: storage.example.org", 0),
    ("qiniu_accesskey: x", 0),
    ("ufile_baseurl: http://bucket.example.org", 0),
    ("oss_bucket: x", 0),
    ("private_key: x", 0),
    ("key_id: x", 0),
]


@pytest.mark.parametrize(("written", "count"), KEYS_OF_0X)
def test_keys_of_0x_without_effect_give_a_warning_at_most(load, written, count):
    warnings = load(f"{BASE}    {written}\n").warnings
    assert len(warnings) == count
    assert all(f"dev.{written.partition(':')[0]}: has no effect" in text for text in warnings)


def test_a_file_of_registry_2_is_recognized(problems):
    text = """
    version: 0.1
    storage: {filesystem: {rootdirectory: /var/lib/registry}}
    auth: {htpasswd: {realm: here, path: /auth/htpasswd}}
    http: {addr: ":5000"}
    """
    [(key, _, reason)] = problems(text)
    assert key == ""
    assert reason.startswith("is a configuration file of registry 2.x")


# -- the file and the flavor ----------------------------------------------------------------------


def test_dev_is_the_default_flavor(load):
    assert load(BASE).flavor == "dev"
    assert load(BASE, {"SETTINGS_FLAVOR": ""}).flavor == "dev"


def test_the_error_for_an_unknown_flavor_lists_the_flavors(problems):
    text = "common: {}\none: {}\ntwo: {}\n"
    [(key, _, reason)] = problems(text, {"SETTINGS_FLAVOR": "prod"})
    assert (key, reason) == ("", "no flavor 'prod' (SETTINGS_FLAVOR); there are: one, two")


def test_only_the_chosen_flavor_is_checked(load):
    text = BASE + "prod:\n    storage: gcs\n    nonsense: !!int x\n    loglevel: 3\n"
    assert load(text).flavor == "dev"


def test_own_config_is_the_default():
    assert find({}) == PROJECT / "config.yml"
    assert load_config(environ={"SETTINGS_FLAVOR": "local"}).flavor == "local"


def test_relative_file_in_config_then_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = {"DOCKER_REGISTRY_CONFIG": "some.yml"}
    with pytest.raises(ConfigError) as caught:
        find(environ)
    assert f"{tmp_path}/config, {tmp_path} (DOCKER_REGISTRY_CONFIG)" in str(caught.value)
    (tmp_path / "some.yml").write_text(BASE)
    assert find(environ) == tmp_path / "some.yml"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "some.yml").write_text(BASE)
    assert find(environ) == tmp_path / "config" / "some.yml"
    assert find({"DOCKER_REGISTRY_CONFIG": str(tmp_path / "x.yml")}) == tmp_path / "x.yml"


def test_unreadable_files(tmp_path):
    for file, reason in [
        (tmp_path / "none.yml", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load_config(file, {})
        assert str(caught.value) == f"{file}: cannot be read: {reason}"


# -- variables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "environ", "value"),
    [
        ("_env:X", {}, None),
        ("_env:X", {"X": "host"}, "host"),
        ("'_env:X:'", {}, None),
        ("_env:X:host:5000", {}, "host:5000"),
        ("_env:X:http://a:1/b", {"X": ""}, None),
        ("_env:X:host", {"X": "~"}, None),
        ("'_env:X:[a, b]'", {}, "a, b"),
        ("_env:X", {"X": "'5000'"}, "5000"),
        # a name that YAML parses as a number, a date or a boolean
        ("_env:X", {"X": "0123"}, "0123"),
        ("_env:X", {"X": " 2014-01-01 "}, "2014-01-01"),
        ("_env:X", {"X": "no"}, "no"),
        # only as a whole scalar
        ("a_env:X:b", {"X": "c"}, "a_env:X:b"),
        # the value of a variable is not expanded again
        ("_env:X", {"X": "_env:Y", "Y": "z"}, "_env:Y"),
    ],
)
def test_variables(load, written, environ, value):
    config = load(f"{BASE}    registry_endpoints: {written}\n", environ)
    assert config.registry_endpoints == value


def test_variables_in_free_form_values():
    reader = YamlReader({"X": "[2, three]"})
    node = compose("{a: ['_env:X:1'], b: {c: '_env:Y:{d: true}'}}")
    assert reader.value(node, ()) == {"a": [[2, "three"]], "b": {"c": {"d": True}}}
    assert reader.problems == []


def test_variable_is_named_in_errors(problems):
    text = f"{BASE}    debug: _env:DEBUG:false\n    limits:\n        json: _env:JSON:4MiB\n"
    assert problems(text, {"DEBUG": "maybe", "JSON": "[1"}) == [
        ("dev.debug", 5, "must be true or false (variable DEBUG), not 'maybe'"),
        (
            "dev.limits.json",
            7,
            "not valid YAML: expected ',' or ']', but got '<stream end>' (variable JSON)",
        ),
    ]


@pytest.mark.parametrize("written", ["'_env:'", "'_env::x'", "'_env:A=B'"])
def test_reference_without_a_name(problems, written):
    [(key, line, reason)] = problems(f"{BASE}    issue: {written}\n")
    assert (key, line) == ("dev.issue", 5)
    assert reason.startswith("names no variable")


def test_variables_cannot_construct_python_objects(problems):
    hostile = "!!python/object/apply:os.system ['exit 1']"
    [(key, _, reason)] = problems(f"{BASE}    debug: _env:X\n", {"X": hostile})
    assert key == "dev.debug"
    assert "cannot be used here (variable X)" in reason


# -- hostile YAML ---------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("", "", "must be a mapping of flavors"),
        ("# nothing", "", "must be a mapping of flavors"),
        ("- a\n- b\n", "", "must be a mapping of flavors"),
        ("text", "", "must be a mapping of flavors"),
        ("a: b: c", "", "not valid YAML: mapping values are not allowed here"),
        ("a: [", "", "not valid YAML: "),
        ("dev:\n\t- a", "", "not valid YAML: "),
        ("dev: *nothing", "", "not valid YAML: found undefined alias 'nothing'"),
        ("dev: {}\n---\ndev: {}\n", "", "not valid YAML: "),
        ("dev: \x07", "", "not valid YAML: "),
        ('dev: "\\UFFFFFFFF"', "", "not valid YAML: "),
        ("dev: " + "[" * 5000, "", "nested too deeply"),
        ("? [a]\n: b\n", "", "a key must be a word, not a list or a mapping"),
        ("dev: {}\ndev: {a: b}\n", "dev", "is set twice, first in line 1, with another value"),
        ("dev:", "dev", "must be a mapping"),
        ("dev: [a]", "dev", "must be a mapping"),
        ("dev: text", "dev", "must be a mapping"),
        ("dev: &d {extensions: *d}", "dev", "an anchor refers to itself"),
        ("dev: &d\n    <<: *d\n", "dev", "an anchor refers to itself"),
        ("dev: &d {extensions: {x: [1, *d]}}", "dev", "an anchor refers to itself"),
        (f"{BOMB}dev: {{extensions: *i}}", "dev", "too large"),
        ("dev: {extensions: " + "[" * 60 + "]" * 60 + "}", "dev", "nested too deeply"),
        ("dev: {<<: text}", "dev", "<< must name a mapping or a list of them"),
        ("dev: {? [a] : b}", "dev", "a key must be a word, not a list or a mapping"),
        ("dev: !!set {a, b}", "dev", "the YAML tag tag:yaml.org,2002:set cannot be used here"),
        ("dev: {issue: !!python/name:os.system }", "dev.issue", "not a value of the YAML type "),
        ("dev: {issue: 2014-99-99}", "dev.issue", "not a value of the YAML type timestamp"),
        ("dev: {issue: !!int x}", "dev.issue", "not a value of the YAML type int"),
        ("dev: {issue: !!int ''}", "dev.issue", "not a value of the YAML type int"),
        ("dev: {issue: !!timestamp x}", "dev.issue", "not a value of the YAML type timestamp"),
        ("dev: {issue: a, issue: b}", "dev.issue", "is set twice, first in line 1"),
    ],
)
def test_hostile_yaml(problems, text, key, reason):
    required = ("dev.standalone", "dev.storage")
    [(found, _, text)] = [problem for problem in problems(text) if problem[0] not in required]
    assert found == key
    assert text.startswith(reason)


PIECES = st.sampled_from(
    ["dev", "common", ":", " ", "\n", "\n    ", "- ", "<<: *a", "&a ", "*a", "{", "}", "[", "]", ",",
     "_env:X", "_env:Y:", "!!int ", "!!bool ", "!!timestamp ", "!!python/name:os ", "storage: local", "standalone: true",
     "storage_path: /x", "limits", "json", "4MiB", "'", '"', "#", "|", "?", "\t", "0x", "1:2", "~"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    pieces=st.lists(PIECES, max_size=30),
    variable=st.text(max_size=8) | st.lists(PIECES, max_size=5).map("".join),
)
def test_every_text_gives_a_config_or_a_config_error(tmp_path_factory, pieces, variable):
    file = tmp_path_factory.getbasetemp() / "fuzz.yml"
    file.write_text("dev: &a {standalone: true}\n" * (len(pieces) % 2) + "".join(pieces))
    found = ()
    try:
        flavor = load_config(file, {"X": variable, "Y": variable}).flavor
    except ConfigError as error:
        found = error.problems
    assert found or flavor == "dev"
    assert all(problem.reason for problem in found)


def test_not_utf_8_and_too_large(tmp_path):
    file = tmp_path / "config.yml"
    file.write_bytes(b"dev: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(file, {})
    file.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="too large"):
        load_config(file, {})


def test_a_repeated_key_with_the_same_value_is_valid(load):
    # as in config_s3.yml of docker-registry 0.x
    assert load(f"{BASE}    s3_encrypt: true\n    s3_encrypt: true\n").flavor == "dev"


def test_merge_order(load):
    text = """
    a: &a {loglevel: error, standalone: true, storage: memory}
    b: &b {loglevel: warn, debug: true}
    dev:
        <<: [*b, *a]
        debug: false
    """
    config = load(text)
    assert (config.loglevel, config.debug) == ("warn", False)
