"""All that determines the bytes of a config, point by point.

Go computed the expected texts as well; see tests/fixtures/convert.
"""

from __future__ import annotations

import json

import pytest

from v1registry.lib.oci.convert import Unconvertible, complete, image_config

DIFF = "sha256:" + "0" * 64
NEW = b'"docker_version":"1.9.1"'  # passed on as it is
TAIL = b'"rootfs":{"type":"layers","diff_ids":["' + DIFF.encode() + b'"]}'
NO_DATE = b'"created":"0001-01-01T00:00:00Z"'
BLANK = (
    b'{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,'
    b'"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,'
    b'"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}'
)


def convert(data: bytes) -> bytes:
    return image_config([data], [DIFF])


def history(data: bytes) -> bytes:
    """The text of the one step in the history."""
    config = convert(data)
    start = config.index(b'"history":[') + len(b'"history":[')
    return config[start : config.index(b"]", start)]


def passed_on(members: bytes) -> bytes:
    """Return the members in the config of an image that is not written anew."""
    config = convert(b"{" + members + b"," + NEW + b"}")
    end = b',"docker_version":"1.9.1","history":[{' + NO_DATE + b"}]," + TAIL + b"}"
    assert config.endswith(end), config
    return config[1 : -len(end)]


def rewritten(members: bytes) -> bytes:
    """The `config` of an image that is written anew."""
    config = convert(b'{"config":{' + members + b"}}")
    start = config.index(b'"config":') + len(b'"config":')
    return config[start : config.index(b',"container_config"')]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (b'"a":1', b'"a":1'),
        (b' "a" :\t[ 1 ,\r\n2 ] ', b'"a":[1,2]'),
        (b'"a":"<b> & \xe2\x80\xa8\xe2\x80\xa9"', b'"a":"\\u003cb\\u003e \\u0026 \\u2028\\u2029"'),
        (b'"a<":1', b'"a\\u003c":1'),
        (b'"a":"\\u003c \\/ \\b \\u00e9 \\ud83d"', b'"a":"\\u003c \\/ \\b \\u00e9 \\ud83d"'),
        (b'"a":"\xff\xe2\x80"', b'"a":"\xff\xe2\x80"'),  # no UTF-8, and nobody looks
        (b'"a\xff":1', b'"a\xef\xbf\xbd":1'),  # but names are read
        (b'"a\\u0062":1', b'"ab":1'),
        (b'"a":1e5,"b":1.50', b'"a":1e5,"b":1.50'),
        (b'"b":-0,"a":12345678901234567890123', b'"a":12345678901234567890123,"b":-0'),
        (b'"b":1,"a":2', b'"a":2,"b":1'),
        (b'"a":1,"a":2', b'"a":2'),
        (b'"a":null', b'"a":null'),
        (b'"A":1,"Z":2,"_":3', b'"A":1,"Z":2,"_":3'),
        (b'"Size":5,"id":"x","parent":"y","throwaway":true,"layer_id":1,"parent_id":2,"a":0', b'"a":0'),
        (b'"size":5', None),  # sorted behind the end that we look for
        (b'"ID":"x"', b'"ID":"x"'),  # only the very name is dropped
    ],
)  # fmt: skip
def test_a_newer_image_is_passed_on(given: bytes, wanted: bytes | None) -> None:
    if wanted is None:
        assert convert(b"{" + given + b"," + NEW + b"}").endswith(b',"size":5}')
    else:
        assert passed_on(given) == wanted


def test_rootfs_and_history_are_computed() -> None:
    config = convert(b'{"rootfs":{"a":1},"history":[1,2],' + NEW + b"}")
    wanted = b'{"docker_version":"1.9.1","history":[{' + NO_DATE + b"}]," + TAIL + b"}"
    assert config == wanted


@pytest.mark.parametrize(
    ("version", "anew"),
    [
        ("", True),
        ("0.9.1", True),
        ("1.8.2", True),
        ("1.8.3", False),
        ("1.8.3-rc1", True),  # "3-rc1" counts as 0
        ("1.9.0-dev", False),
        ("1.8.3.0", False),
        ("1.8.3.-1", True),
        ("1.10.0", False),
        ("1.08.03", False),
        ("17.03.0-ce", False),
        ("2", False),
        ("1", True),
        ("1.8.+3", False),
        (" 1.9", True),
        ("1_0.1", True),
        ("9" * 5000, False),
    ],
)
def test_which_images_are_written_anew(version: str, anew: bool) -> None:
    config = convert(json.dumps({"docker_version": version, "x": 1}).encode())
    assert (b'"x":1' not in config) == anew


def test_an_image_written_anew_has_all_fields() -> None:
    wanted = (
        b'{"container_config":' + BLANK + b"," + NO_DATE + b',"history":[{' + NO_DATE + b"}],"
        + TAIL + b"}"
    )  # fmt: skip
    assert convert(b"{}") == wanted
    assert convert(b'{"id":"x","parent":"y","Size":7}') == wanted


@pytest.mark.parametrize(
    ("given", "before", "after"),
    [
        (b'"hostname":"a"', b'"Hostname":""', b'"Hostname":"a"'),
        (b'"Hostname":"a","HOSTNAME":"b"', b'"Hostname":""', b'"Hostname":"b"'),
        (b'"HO\xc5\xbfTNAME":"b"', b'"Hostname":""', b'"Hostname":"b"'),  # a long s
        (b'"Hostname":"a","Hostname":null', b'"Hostname":""', b'"Hostname":"a"'),
        (b'"Hostname":"\xff\\ud800"', b'"Hostname":""', b'"Hostname":"\xef\xbf\xbd\xef\xbf\xbd"'),
        (b'"Hostname":"\\b\\t\\u0000\\/\x7f"', b'"Hostname":""', b'"Hostname":"\\u0008\\t\\u0000/\x7f"'),
        (b'"Env":[]', b'"Env":null', b'"Env":[]'),
        (b'"Env":["a",null]', b'"Env":null', b'"Env":["a",""]'),
        (b'"Cmd":"top"', b'"Cmd":null', b'"Cmd":["top"]'),
        (b'"Entrypoint":[]', b'"Entrypoint":null', b'"Entrypoint":[]'),
        (b'"Volumes":{"/b":{},"/a":null}', b'"Volumes":null', b'"Volumes":{"/a":{},"/b":{}}'),
        (b'"Labels":{}', b'"Labels":null', b'"Labels":{}'),
        (b'"Labels":{"b":"2","a":"<"}', b'"Labels":null', b'"Labels":{"a":"\\u003c","b":"2"}'),
        (b'"ExposedPorts":{"80/tcp":{}}', b'"Tty"', b'"ExposedPorts":{"80/tcp":{}},"Tty"'),
        (b'"ExposedPorts":{}', b"", b""),
        (b'"Memory":5,"PortSpecs":["80"],"Cpuset":"0"', b"", b""),
        (b'"NetworkDisabled":false,"MacAddress":""', b"", b""),
        (b'"MacAddress":"0:1","NetworkDisabled":true', b'"OnBuild"',
         b'"NetworkDisabled":true,"MacAddress":"0:1","OnBuild"'),
        (b'"StopTimeout":0,"StopSignal":"9","Shell":["sh"]', b'"Labels":null',
         b'"Labels":null,"StopSignal":"9","StopTimeout":0,"Shell":["sh"]'),
        (b'"Healthcheck":{"Test":["CMD"],"Retries":-0}', b'"Image"',
         b'"Healthcheck":{"Test":["CMD"]},"Image"'),
    ],
)  # fmt: skip
def test_fields_written_anew(given: bytes, before: bytes, after: bytes) -> None:
    assert rewritten(given) == BLANK.replace(before, after)


def test_a_duplicate_structure_is_merged() -> None:
    config = convert(b'{"config":{"User":"a","Image":"i"},"Config":{"User":"b"}}')
    wanted = BLANK.replace(b'"User":""', b'"User":"b"').replace(b'"Image":""', b'"Image":"i"')
    assert b'"config":' + wanted in config


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("2015-06-01T12:00:00.123456789Z", "2015-06-01T12:00:00.123456789Z"),
        ("2015-06-01T12:00:00.120000000Z", "2015-06-01T12:00:00.12Z"),
        ("2015-06-01T12:00:00.000Z", "2015-06-01T12:00:00Z"),
        ("2015-06-01T12:00:00.5+02:00", "2015-06-01T12:00:00.5+02:00"),
        ("2015-06-01T12:00:00+00:00", "2015-06-01T12:00:00Z"),
        ("2015-06-01T12:00:00-00:00", "2015-06-01T12:00:00Z"),
        ("2015-06-01T12:00:00-08:30", "2015-06-01T12:00:00-08:30"),
        ("2015-06-01T2:00:00Z", "2015-06-01T02:00:00Z"),
        ("2016-02-29T00:00:00Z", "2016-02-29T00:00:00Z"),
    ],
)
def test_times_are_written_as_go_writes_them(given: str, wanted: str) -> None:
    """In the history of every image, and in `created` of images that are written anew."""
    for version in ("1.5.0", "1.9.1"):
        data = json.dumps({"created": given, "docker_version": version}).encode()
        assert history(data) == b'{"created":"' + wanted.encode() + b'"}'
        kept = wanted if version == "1.5.0" else given
        assert b'"created":"' + kept.encode() + b'","docker' in convert(data)


def test_the_history_of_a_step() -> None:
    data = json.dumps(
        {
            "created": "2015-06-01T12:00:00Z",
            "author": "<me>",
            "comment": "why",
            "container_config": {"Cmd": ["/bin/sh", "-c", "a && b", None]},
            "config": {"Cmd": ["not this"]},
        }
    ).encode()
    assert history(data) == (
        b'{"created":"2015-06-01T12:00:00Z","author":"\\u003cme\\u003e",'
        b'"created_by":"/bin/sh -c a \\u0026\\u0026 b ","comment":"why"}'
    )


def test_bare_ancestors() -> None:
    """Docker 1.10 and later push such ancestors."""
    config = image_config(
        [b'{"id":"a"}', b'{"id":"b","parent":"a"}', b"{" + NEW + b"}"], [DIFF] * 3
    )
    assert config.count(b"{" + NO_DATE + b"}") == 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be read"),
        (b"[]", "not an object"),
        (b'{"a":1,}', "cannot be read"),
        (b'{"a":NaN}', "NaN is no JSON"),
        (b"\xef\xbb\xbf{}", "cannot be read"),
        (b'{"created":""}', "created is not a time"),
        (b'{"created":"2015-02-29T00:00:00Z"}', "created is not a time of any day"),
        (b'{"created":"2015-06-01T24:00:00Z"}', "created is not a time of any day"),
        (b'{"created":"2015-06-01T12:00:00.1234567890Z"}', "too exact"),
        (b'{"created":1433160000}', "created is not a time"),
        (b'{"config":{"Env":"A=1"}}', "config.Env is not a list"),
        (b'{"config":[]}', "config is not an object"),
        (b'{"config":{"Healthcheck":{"Retries":1.5}}}', "config.Healthcheck.Retries is not a whole"),
        (b'{"Size":9223372036854775808}', "Size is not a number of 64 bits"),
        (b'{"config":{"Cmd":["a",5]}}', "config.Cmd is not a text"),
        (b'{"config":{"Volumes":{"/a":1}}}', "config.Volumes holds something else"),
        (b'{"config":{"Tty":"yes"}}', "config.Tty is neither true nor false"),
        (b'{"docker_version":1.9}', "docker_version is not a text"),
    ],
)  # fmt: skip
def test_what_engines_refuse_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Unconvertible, match=reason):
        convert(data)
    with pytest.raises(Unconvertible, match=reason):  # as an ancestor, too
        image_config([data, b"{}"], [DIFF] * 2)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Unconvertible, match="too deeply"):
        convert(b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "amd64"}),
        ({"os": "windows", "architecture": "arm"}, {"os": "windows", "architecture": "arm"}),
        ({}, {"os": "linux", "architecture": "amd64"}),
        ({"os": "", "architecture": None}, {"os": "linux", "architecture": "amd64"}),
        ({"architecture": "x86_64"}, {"os": "linux", "architecture": "amd64"}),
        ({"os": "linux", "architecture": "armv7l"}, {"os": "linux", "architecture": "arm"}),
        ({"os": "plan9", "architecture": "mips"}, {"os": "plan9", "architecture": "mips"}),
        ({"OS": "linux", "architecture": "386"}, {"OS": "linux", "architecture": "386"}),
    ],
)
def test_only_a_missing_system_is_completed(given: dict[str, str], wanted: dict[str, str]) -> None:
    config = convert(json.dumps({**given, "docker_version": "1.9.1"}).encode())
    completed = complete(config)
    found = json.loads(completed)
    assert {name: found.get(name) for name in wanted} == wanted
    assert (completed == config) == (given == wanted)
