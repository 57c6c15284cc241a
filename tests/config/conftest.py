"""Loading configurations from texts."""

from __future__ import annotations

import textwrap

import pytest

from v1registry.config import ConfigError, load_config


@pytest.fixture
def load(tmp_path):
    """`load(text, environ)`: the configuration of a whole file's text."""

    def load(text, environ=None, **more):
        file = tmp_path / "config.yml"
        file.write_text(textwrap.dedent(text))
        return load_config(file, environ or {}, **more)

    return load


@pytest.fixture
def problems(load):
    """Like `load`, for a text that is refused: the problems as (key, line, reason)."""

    def problems(text, environ=None, **more):
        with pytest.raises(ConfigError) as caught:
            load(text, environ, **more)
        return [(problem.key, problem.line, problem.reason) for problem in caught.value.problems]

    return problems
