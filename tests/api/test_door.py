"""The door: no endpoint goes past it. What it lets through: tests/rights."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from v1registry import app as module
from v1registry.api import door, indexing, ping, repositories
from v1registry.api.actions import joined
from v1registry.app import create_app
from v1registry.config import load_config


@pytest.fixture
def config(tmp_path: Path):
    return load_config(environ={"SETTINGS_FLAVOR": "test", "STORAGE_PATH": str(tmp_path)})


def test_every_endpoint_has_a_rule(config) -> None:
    app = create_app(config)
    rules = {name: door.rule(view) for name, view in app.view_functions.items()}
    assert all(rules.values()), rules
    assert rules["images.get_layer"] == "image pull"
    assert rules["images.put_layer"] == "image push"


def test_an_endpoint_without_a_rule_stops_the_start(config, monkeypatch) -> None:
    def blueprint(parts):
        routes = ping_blueprint(parts)
        routes.add_url_rule("/v1/forgotten", "forgotten", lambda: "all there is")
        return routes

    ping_blueprint = ping.blueprint
    monkeypatch.setattr(module.ping, "blueprint", blueprint)
    with pytest.raises(RuntimeError, match=r"ping\.forgotten"):
        create_app(config)


def test_what_changes_a_repository_takes_more_than_pull() -> None:
    for name, actions in joined(repositories.ACTIONS, indexing.ACTIONS).items():
        for method, action in actions.items():
            if method != "GET" and name != "auth":
                assert action.access not in (None, door.Access.PULL), (name, method)


def test_views_of_another_application_are_found() -> None:
    app = Flask("other", static_folder=None)
    app.add_url_rule("/x", "x", lambda: "x")
    assert door.unguarded(app) == ["x"]
