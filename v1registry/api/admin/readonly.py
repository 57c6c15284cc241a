"""The endpoint of the read-only switch, `/v1/admin/readonly`."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response

from v1registry.api import answers, body
from v1registry.api.admin.access import administrator, administrators_only
from v1registry.api.services import RegistryServices
from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.storage.readonly import MAX_REASON, ReadOnlyState

_COMMAND = "v1registry readonly"
_REASON_INVALID = (400, f"reason must be one line of at most {MAX_REASON} characters")


def blueprint(services: RegistryServices) -> Blueprint:
    routes = Blueprint("admin_readonly", __name__)
    switch = services.read_only_switch
    checked = administrators_only(services, _COMMAND)

    @routes.get("/v1/admin/readonly")
    @checked
    def status() -> Response:
        return _answer(switch.state(anew=True))

    @routes.put("/v1/admin/readonly")
    @checked
    def switch_on() -> Response:
        body.require_json()
        reason = body.json_object(services, errors.JSON_INVALID).get("reason", "")
        if not (isinstance(reason, str) and reason.isprintable() and len(reason) <= MAX_REASON):
            raise Failure(*_REASON_INVALID)
        _refuse_by_option()
        return _answer(switch.switch_on(administrator(services, _COMMAND), reason))

    @routes.delete("/v1/admin/readonly")
    @checked
    def switch_off() -> Response:
        _refuse_by_option()
        switch.switch_off()
        return _answer(None)

    def _refuse_by_option() -> None:
        """Raise Failure 503 if this process must not write to the store at all."""
        if services.config.read_only:
            raise Failure(*errors.READ_ONLY)

    return routes


def _answer(state: ReadOnlyState | None) -> Response:
    known = asdict(state) if state is not None else {}
    return answers.uncached_json({"read_only": state is not None, **known})
