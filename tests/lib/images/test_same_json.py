"""Which image JSONs describe the same image (lib.images.same_json): what engines rewrite, and what not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fixtures import engines
from v1registry.lib.images.same_json import is_same_json

IMAGE = {
    "id": "a" * 64,
    "created": "2014-05-01T10:00:00.12Z",
    "config": {
        "Env": ["PATH=/bin", ""],
        "Memory": 536870912,
        "Volumes": {"/data": {}},
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"empty": ""},
        "OnBuild": [],
        "Entrypoint": None,
    },
}


def changed(**members: Any) -> dict[str, Any]:
    return {**IMAGE, **members}


def configured(**members: Any) -> dict[str, Any]:
    return changed(config={**IMAGE["config"], **members})  # type: ignore[dict-item]


def dump(document: object) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


SAME = {
    "members in another order": dict(reversed(IMAGE.items())),
    "an empty text": changed(author=""),
    "empty values of every kind": changed(a=None, b="", c=0, d=False, e=[], f={}),
    "empty objects in each other": changed(container_config={"A": {"B": {"C": []}}}),
    "a new empty field of the configuration": configured(MacAddress="", Labels={"empty": None}),
    "an empty field less": configured(OnBuild=None),
    "the size of another storage driver": changed(Size=10003),
    "zeros after the fraction": changed(created="2014-05-01T10:00:00.120000Z"),
    "UTC as an offset": changed(created="2014-05-01T10:00:00.12+00:00"),
    "another way of escaping": dump(IMAGE).replace(b"/data", b"\\u002fdata"),
    "blanks": json.dumps(IMAGE, indent=2).encode() + b"\n",
}

OTHER = {
    "a text": changed(author="x"),
    "a number": configured(Memory=536870913),
    "a number that Go does not read as an integer": dump(IMAGE).replace(b"536870912", b"5.36870912e+08"),
    "zero with a fraction": changed(CpuShares=0.0),
    "a number with a fraction": configured(Memory=536870912.5),
    "a text instead of a number": configured(Memory="536870912"),
    "true": changed(author=True),
    "true instead of one": (changed(CpuShares=1), changed(CpuShares=True)),
    "a list with an empty item": changed(OnBuild=[None]),
    "an empty item less": configured(Env=["PATH=/bin"]),
    "zero instead of an empty text": configured(Env=["PATH=/bin", 0]),
    "another order of a list": configured(Env=["", "PATH=/bin"]),
    "another volume": configured(Volumes={"/other": {}}),
    "no volume": configured(Volumes={}),
    "another port": configured(ExposedPorts={"443/tcp": {}}),
    "another empty label": configured(Labels={"secret": ""}),
    "a member of another case": {**IMAGE, "Created": IMAGE["created"]},
    "another time": changed(created="2014-05-01T10:00:00.13Z"),
    "another zone": changed(created="2014-05-01T10:00:00.12+01:00"),
    "a text as the size": changed(Size="secret"),
    "a size of many digits": changed(Size=10**30),
    "a size below zero": changed(Size=-1),
    "a size elsewhere": configured(Size=1),
    "digits that a float would lose": dump(IMAGE).replace(b"536870912", b"536870912.00000000000000001"),
    "a value hidden by a second one": dump(IMAGE)[:-1] + b', "author": "secret", "author": ""}',
    "a list": [IMAGE],
    "no JSON": b"{",
    "no UTF-8": dump(changed(author="x")).replace(b'"x"', b'"\xff"'),
    "NaN": dump(changed(author="x")).replace(b'"x"', b"NaN"),
    "an endless exponent": dump(changed(author="x")).replace(b'"x"', b"1e99999999999"),
    "a deep one": dump(changed(author="x")).replace(b'"x"', b"[" * 200_000 + b"]" * 200_000),
}  # fmt: skip


@pytest.mark.parametrize("what", SAME)
def test_the_same(what: str) -> None:
    for one, other in ((IMAGE, SAME[what]), (SAME[what], IMAGE)):
        assert is_same_json(dump(one), dump(other))


@pytest.mark.parametrize("what", OTHER)
def test_another(what: str) -> None:
    found = OTHER[what]
    one, other = found if isinstance(found, tuple) else (IMAGE, found)
    assert not is_same_json(dump(one), dump(other))
    assert not is_same_json(dump(other), dump(one))
    assert is_same_json(dump(other), dump(other))


@pytest.mark.parametrize(("first", "second"), engines.PAIRS)
def test_values_that_engines_sent(first: str, second: str) -> None:
    one, other = (engines.json_of(version) for version in (first, second))
    assert is_same_json(one, other)
    assert not is_same_json(one, other.replace(b"Imported", b"imported"))


def test_an_image_of_1_10_that_an_older_engine_wrote_anew() -> None:
    """Docker 1.10 invents the JSON of a parent; 1.8 then adds all the fields that it knows."""
    made_up = b'{"id":"%s","parent":"%s"}' % (b"a" * 64, b"b" * 64)
    filled_in = (
        b'{"id":"%s","parent":"%s","created":"0001-01-01T00:00:00Z","container_config":'
        b'{"Hostname":"","User":"","AttachStdin":false,"Env":null,"Cmd":null,"Labels":null},'
        b'"Size":5003}\n' % (b"a" * 64, b"b" * 64)
    )
    assert is_same_json(made_up, filled_in)
    assert not is_same_json(made_up, filled_in.replace(b'"User":""', b'"User":"x"'))
