"""Options for policies."""

from __future__ import annotations

import pytest
import yaml

from tests.config.texts import BASE
from v1registry.config.policies import TagRule
from v1registry.config.show import as_yaml


def test_immutable_tags(load):
    written = "[{repository: busybox, tags: 'v?'}, {repository: '*', tags: 'release-*'}]"
    config = load(f"{BASE}    immutable_tags: {written}\n")
    assert config.immutable_tags == (
        TagRule("library/busybox", "v?"),
        TagRule("*", "release-*"),
    )
    assert load(yaml.safe_dump({"dev": yaml.safe_load(as_yaml(config))})) == config
    assert load(BASE).immutable_tags == ()
    text = f"{BASE}    immutable_tags: _env:IMMUTABLE_TAGS:[]\n"
    assert load(text, {"IMMUTABLE_TAGS": written}) == config


@pytest.mark.parametrize(
    "written",
    [
        "v1",
        "{repository: '*', tags: '*'}",
        "['*']",
        "[{repository: '*'}]",
        "[{repository: '*', tags: '*', users: ann}]",
        "[{repository: ['*'], tags: '*'}]",
        "[{repository: 'UP/*', tags: '*'}]",
        "[{repository: '*', tags: 1.0}]",
        "[{repository: '*', tags: ''}]",
        "[{repository: '*', tags: 'a/b'}]",
    ],
)
def test_invalid_rules(problems, written):
    [(key, _, reason)] = problems(f"{BASE}    immutable_tags: {written}\n")
    assert key == "dev.immutable_tags"
    assert reason.startswith("must ")


def test_an_index_without_a_registry_has_no_tags_to_protect(problems):
    text = BASE.replace("storage: local", "index: {alone: true, database: 'sqlite:////srv/x.db'}")
    text += "    registry_endpoints: registry.example\n"
    text += "    immutable_tags: [{repository: '*', tags: '*'}]\n"
    assert [key for key, _, _ in problems(text)] == ["dev.immutable_tags"]
