"""The configs that real engines computed, byte for byte."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from pathlib import Path

import pytest

from v1registry.lib.oci.convert import Unconvertible, chain_ids, complete, image_config

FIXTURES = Path(__file__).parents[3] / "fixtures"
GOLDEN = FIXTURES / "golden"
IMAGES = json.loads((GOLDEN / "image-ids.json").read_text())
GO = (FIXTURES / "convert" / "go.txt").read_text().splitlines()


def chain(image_id: str) -> tuple[list[bytes], list[str]]:
    """JSONs and diff ids of an image of the golden store, the base first."""
    folder = GOLDEN / "store-0.9.1" / "images"
    ids = json.loads((folder / image_id / "ancestry").read_text())[::-1]
    jsons = [(folder / id / "json").read_bytes() for id in ids]
    layers = [gzip.decompress((folder / id / "layer").read_bytes()) for id in ids]
    return jsons, [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image["repository"])
def test_the_configuration_is_the_engines(image: dict[str, str]) -> None:
    config = image_config(*chain(image["v1_id"]))
    name = image["repository"].rpartition("/")[2]
    assert config == (GOLDEN / f"{name}.config.json").read_bytes()
    assert f"sha256:{hashlib.sha256(config).hexdigest()}" == image["image_id"]
    assert complete(config) == config


@pytest.mark.parametrize("line", GO, ids=range(len(GO)))
def test_every_byte_equals_go(line: str) -> None:
    left, _, right = line.partition(" > ")
    jsons = [base64.b64decode(word) for word in left.split()]
    diff_ids = [f"sha256:{number:064x}" for number in range(len(jsons))]
    if right == "refused":
        with pytest.raises(Unconvertible):
            image_config(jsons, diff_ids)
    else:
        assert image_config(jsons, diff_ids) == base64.b64decode(right)


def test_chain_ids() -> None:
    """The second is the hash of the text of both; values from `printf 'sha256:… sha256:…' | sha256sum`."""
    empty = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    second = hashlib.sha256(f"{empty} {empty}".encode()).hexdigest()
    third = hashlib.sha256(f"sha256:{second} {empty}".encode()).hexdigest()
    assert chain_ids([empty] * 3) == [empty, f"sha256:{second}", f"sha256:{third}"]
    assert chain_ids([]) == []


def test_engines_1_10_and_later_write_the_archive_anew_when_they_push() -> None:
    """So a layer's chain id may differ from the v1 id derived from it, without any damage."""
    jsons, diff_ids = chain(IMAGES[3]["v1_id"])
    base = json.loads(jsons[0])["id"]
    assert chain_ids(diff_ids)[0] != f"sha256:{base}"
