"""Authorization: every endpoint has a rule. tests/rights checks what the rules allow."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from tests.lib.stores import write_image
from v1registry import app as module
from v1registry.api import authorize
from v1registry.api.v1 import image_lists, ping, repositories
from v1registry.api.v1.repository_routes import joined
from v1registry.app import create_app
from v1registry.config import load_config


@pytest.fixture
def config(tmp_path: Path):
    return load_config(environ={"SETTINGS_FLAVOR": "test", "STORAGE_PATH": str(tmp_path)})


def test_every_endpoint_has_a_rule(config) -> None:
    app = create_app(config)
    rules = {name: authorize.rule(view) for name, view in app.view_functions.items()}
    assert all(rules.values()), rules
    assert rules["images.get_layer"] == "image pull"
    assert rules["images.put_layer"] == "image push"


def test_an_endpoint_without_a_rule_stops_the_start(config, monkeypatch) -> None:
    def blueprint(services):
        routes = ping_blueprint(services)
        routes.add_url_rule("/v1/forgotten", "forgotten", lambda: "all there is")
        return routes

    ping_blueprint = ping.blueprint
    monkeypatch.setattr(module.ping, "blueprint", blueprint)
    with pytest.raises(RuntimeError, match=r"ping\.forgotten"):
        create_app(config)


def test_changes_of_a_repository_require_more_than_pull() -> None:
    for name, actions in joined(repositories.ACTIONS, image_lists.ACTIONS).items():
        for method, action in actions.items():
            if method != "GET" and name != "auth":
                assert action.access not in (None, authorize.Access.PULL), (name, method)


def test_views_without_a_rule_are_found() -> None:
    app = Flask("other", static_folder=None)
    app.add_url_rule("/x", "x", lambda: "x")
    assert authorize.unguarded(app) == ["x"]


def test_without_access_rules_no_store_request_is_added(tmp_path: Path, monkeypatch) -> None:
    """Authorization adds no request to the store, and a cached image needs none."""
    environ = {"SETTINGS_FLAVOR": "test", "STORAGE_PATH": str(tmp_path), "V2_READ_PUSHED": "0"}
    app = create_app(load_config(environ=environ))
    services = app.extensions["v1registry"]
    one = "a" * 64
    write_image(services.storage, one)
    services.storage.put("repositories/team/app/tag_latest", one.encode())
    calls: list[str] = []
    for name in ("get", "stat", "list", "open", "put", "put_all", "create"):
        real = getattr(services.storage, name)

        def counted(*args, _real=real, _name=name, **more):
            calls.append(_name)
            return _real(*args, **more)

        monkeypatch.setattr(services.storage, name, counted)
    client = app.test_client()

    def cost(path: str) -> list[str]:
        calls.clear()
        with client.get(path) as answer:
            assert answer.status_code == 200
            answer.get_data()
        return list(calls)

    cost(f"/v1/images/{one}/json")
    assert cost(f"/v1/images/{one}/json") == cost(f"/v1/images/{one}/ancestry") == []
    assert cost(f"/v1/images/{one}/layer") == ["open"]
    assert cost("/v1/repositories/team/app/tags/latest") == ["get"]
    assert cost("/v1/repositories/team/app/tags") == ["list", "get"]
