"""The privilege table of the pages: every page and every form, as every kind of visitor.

A page that this table does not know fails here. A form without its CSRF token gets 403 from every page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.protocol import engine
from tests.web.client import Visitor
from tests.web.conftest import HIDDEN, ROLES, Site
from v1registry.app import create_app
from v1registry.config import load_config


@dataclass(frozen=True)
class Row:
    """A page: its path, the fields of its form, and the status for each of `ROLES`."""

    path: str
    statuses: tuple[int, int, int, int]
    fields: dict[str, str] | None = None


SAME = (200, 200, 200, 200)

#: (endpoint, method) -> rows; further rows of one page, for another repository, have a third word.
TABLE: dict[tuple[str, ...], Row] = {
    ("repositories", "GET"): Row("/ui/", SAME),
    ("static", "GET"): Row("/ui/static/0/style.css", SAME),
    ("unknown", "GET"): Row("/ui/none", (404, 404, 404, 404)),
    ("unknown", "POST"): Row("/ui/none", (404, 404, 404, 404), {}),
    ("unknown", "PUT"): Row("/ui/none", (404, 404, 404, 404), {}),
    ("unknown", "PATCH"): Row("/ui/none", (404, 404, 404, 404), {}),
    ("unknown", "DELETE"): Row("/ui/none", (404, 404, 404, 404), {}),
    # a user who is signed in is led to the next page
    ("sign_in", "GET"): Row("/ui/sign-in", (200, 303, 303, 303)),
    ("sign_in_now", "POST"): Row("/ui/sign-in", (401, 401, 401, 401), {"name": "x"}),
}

#: of the pages of an image: of one in public repositories, in a private one, and of none
_OF_IMAGE = {
    "image": "",
    "layer": "/layer",
    "layer_progress": "/layer/progress",
    "download": "/download/json",
}
_IMAGES = {engine.image("base").id: SAME, HIDDEN.id: (404, 200, 200, 200), "0" * 64: (404,) * 4}
for _endpoint, _path in _OF_IMAGE.items():
    for _id, _statuses in _IMAGES.items():
        TABLE[_endpoint, "GET", _id] = Row(f"/ui/images/{_id}{_path}", _statuses)


#: of the pages of one repository: method, path, fields; and the statuses for a public repository, for a
#: private one of which `reader` and `writer` are members, and for one that does not exist
_PUBLIC, _PRIVATE, _ABSENT = (403, 403, 403), (404, 403, 403), (404, 403, 403)
_OF_REPOSITORY = {
    ("repository", "GET", "repositories"): ((200, 200, 200, 200), (404, 200, 200, 200), (404,) * 4),
    ("edit_descriptions", "GET", "descriptions"): (200, None),
    ("members", "GET", "members"): (200, None),
    ("describe", "POST", "descriptions"): (303, {"short": "x", "full": "y"}),
    ("change_member", "POST", "members"): (303, {"account": "reader", "role": "pull"}),
    ("delete_tags", "POST", "repositories/delete-tags"): (200, {"tag": "latest"}),
    ("delete_repository", "POST", "repositories/delete"): (200, {}),
    ("visibility", "POST", "repositories/visibility"): (303, {}),
    ("star", "POST", "stars"): ((403, 303, 303, 303), (404, 303, 303, 303), (404,) * 4),
    ("comment", "POST", "comments"): ((403, 303, 303, 303), (404, 303, 303, 303), (404,) * 4),
    ("delete_comment", "POST", "comments/delete"): (
        (403, 404, 404, 404), (404, 404, 404, 404), (404, 404, 404, 404)
    ),
}  # fmt: skip
_FIELDS = {"star": {"on": "1"}, "comment": {"text": "good"}, "delete_comment": {"id": "0"}}
for (_endpoint, _method, _path), _found in _OF_REPOSITORY.items():
    for _number, _name in enumerate(("public", "private", "absent")):
        if isinstance(_found[0], int):  # pages that require access to delete
            _denied = (_PUBLIC, _PRIVATE, _ABSENT)[_number]
            # an absent repository gets a role as any other of its namespace
            _last = 404 if _name == "absent" and "member" not in _endpoint else _found[0]
            _statuses, _form = (*_denied, _last), _found[1]
        else:
            _statuses, _form = _found[_number], _FIELDS.get(_endpoint)
        if _endpoint == "visibility":
            _form = {"private": "1" if _name == "private" else "0"}
        TABLE[_endpoint, _method, _name] = Row(f"/ui/{_path}/team/{_name}", _statuses, _form)


#: (endpoint, method) -> path, statuses, form. `reader` is the account in question, `team` the namespace.
_OWN, _ADMIN = (303, 200, 403, 200), (303, 403, 403, 200)
_OWN_CHANGE, _ADMIN_CHANGE = (401, 400, 403, 400), (401, 403, 403, 400)
ACCOUNTS: dict[tuple[str, str], tuple[str, tuple[int, int, int, int], dict[str, str] | None]] = {
    ("accounts", "GET"): ("accounts", _ADMIN, None),
    ("new_account", "GET"): ("new-account", _ADMIN, None),
    ("create_account", "POST"): ("accounts", _ADMIN_CHANGE, {"name": "!"}),
    ("account", "GET"): ("accounts/reader", _OWN, None),
    ("change_password", "POST"): ("accounts/reader/password", _OWN_CHANGE, {"password": "x"}),
    ("change_email", "POST"): ("accounts/reader/email", (401, 401, 403, 409), {}),
    ("create_token", "POST"): ("accounts/reader/tokens", _OWN_CHANGE, {"life": "x"}),
    ("ask_to_revoke", "GET"): ("accounts/reader/tokens/99/revoke", (303, 404, 403, 404), None),
    ("revoke_token", "POST"): ("accounts/reader/tokens/99/revoke", (401, 404, 403, 404), {}),
    ("set_status", "POST"): ("accounts/reader/status", (401, 403, 403, 409), {}),
    ("ask_to_remove", "GET"): ("accounts/reader/remove", _ADMIN, None),
    ("remove_account", "POST"): ("accounts/reader/remove", (401, 403, 403, 409), {}),
    ("invitations", "GET"): ("invitations", _ADMIN, None),
    ("invite", "POST"): ("invitations", _ADMIN_CHANGE, {"life": "x"}),
    ("revoke_invitation", "POST"): ("invitations/99/revoke", (401, 403, 403, 404), {}),
    ("namespaces", "GET"): ("namespaces", _ADMIN, None),
    ("add_namespace", "POST"): ("namespaces", _ADMIN_CHANGE, {"name": "!"}),
    ("namespace", "GET"): ("namespaces/team", _ADMIN, None),
    ("change_role", "POST"): (
        "namespaces/team",
        _ADMIN_CHANGE,
        {"account": "reader", "role": "x", "seen": "pull"},
    ),
    ("store", "GET"): ("store", _ADMIN, None),
    ("migrate", "GET"): ("migrate", SAME, None),
    # the sign-up of this registry is closed
    ("sign_up", "GET"): ("sign-up", (404, 404, 404, 404), None),
    ("sign_up_now", "POST"): ("sign-up", (404, 404, 404, 404), {"name": "new"}),
}
TABLE |= {key: Row(f"/ui/{path}", found, form) for key, (path, found, form) in ACCOUNTS.items()}

TABLE["sign_out", "POST"] = Row("/ui/sign-out", (303, 303, 303, 303), {})  # the last request


def test_the_table_has_every_page(tmp_path: Path) -> None:
    environ = {
        "SETTINGS_FLAVOR": "test",
        "STORAGE_PATH": str(tmp_path / "store"),
        "INDEX_DATABASE": f"sqlite:///{tmp_path}/index.db",
    }
    found = {
        (rule.endpoint.removeprefix("web."), method)
        for rule in create_app(load_config(environ=environ)).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint.startswith("web.")
    }
    assert found == {key[:2] for key in TABLE}


def test_a_private_repository_looks_like_an_absent_one(site: Site) -> None:
    visitor = Visitor(site.server)
    visitor.get("/ui/sign-in")
    for key, row in TABLE.items():
        if key[2:] == ("private",):
            pages = []
            for name in ("private", "absent!"):
                path = row.path.replace("private", name)
                answer = visitor.ask(key[1], path, row.fields)
                assert answer.status == 404
                pages.append(answer.body.replace(name.encode(), b"NAME"))
            assert pages[0] == pages[1].replace(b"absent%21", b"NAME"), key


@pytest.mark.parametrize("path", _OF_IMAGE.values())
def test_an_image_of_a_private_repository_looks_like_an_absent_one(site: Site, path: str) -> None:
    pages = [
        Visitor(site.server).get(f"/ui/images/{image}{path}").body.replace(image.encode(), b"ID")
        for image in (HIDDEN.id, "0" * 64)
    ]
    assert pages[0] == pages[1]


@pytest.mark.parametrize("role", ROLES)
def test_privileges(site: Site, role: str) -> None:
    visitor = Visitor(site.server)
    if role == "anonymous":
        visitor.get("/ui/sign-in")  # for a CSRF token
    else:
        assert visitor.sign_in(role).status == 303
    found = {}
    for key, row in TABLE.items():
        wanted = row.statuses[ROLES.index(role)]
        status = visitor.ask(key[1], row.path, row.fields).status
        if status != wanted:
            found[key] = (status, wanted)
        if key[1] != "GET":
            without = Visitor(site.server)
            without.cookies = dict(visitor.cookies)
            assert without.ask(key[1], row.path, row.fields).status == 403, key
    assert found == {}
