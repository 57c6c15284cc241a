"""The index for tools and pages, as JSON below `/v1/index/`: what engines never ask.

| Path | |
|---|---|
| GET, PUT `repositories/NAME` | one, with its full description; PUT sets what the body names |
| GET `stars?n=&after=` | names of what the asker starred |
| GET, PUT, DELETE `stars/NAME` | whether one starred it; star it; take that back |
| GET `comments/NAME?n=&after=`, POST | comments, the oldest first; add one: `{"text": ...}` |
| DELETE `comments/NAME?id=` | one's own; who has the right to delete the repository, any |
| GET `keys` | public keys that tokens are signed with |
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from v1registry.api import answers, body, numbers
from v1registry.api.authorize import everybody
from v1registry.api.services import RegistryServices, Services
from v1registry.lib import errors
from v1registry.lib.auth.index_interface import IndexServices
from v1registry.lib.auth.rights import NOBODY, Access
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

MOST = 1000  # on a page
USUAL = 100


def blueprint(parts: Services, index: IndexServices) -> Blueprint:
    routes = Blueprint("catalog", __name__, url_prefix="/v1/index")
    see = everybody("what it shows is what the asker may see")

    @routes.get("/repositories/<any_path:name>")
    @see
    def repository(name: str) -> Response:
        parsed = RepositoryName.parse_stored(name)
        found = asdict(index.catalog.get(parsed, _viewer(parts)))
        found["full_description"] = index.catalog.full_description(parsed)
        return answers.ordinary(found)

    @routes.put("/repositories/<any_path:name>")
    @everybody("checked here: it takes the right to delete")
    def change(name: str) -> Response:
        parsed = RepositoryName.parse_stored(name)
        given = _object(parts)
        parts.door.repository(parsed, Access.DELETE, errors.REPOSITORY_NOT_FOUND)
        _change(parts, index, parsed, given)
        return answers.ordinary(status=204)

    @routes.get("/stars")
    @everybody("one's own: checked here")
    def starred() -> Response:
        size, after = numbers.size(USUAL, MOST), request.args.get("after", "")
        found = list(index.opinions.starred(_user(parts), after, size + 1))
        return _paged({"repositories": found[:size]}, "stars", found, size)

    @routes.route("/stars/<any_path:name>", methods=["GET", "PUT", "DELETE"])
    @everybody("one's own, on what the asker may see: checked here")
    def star(name: str) -> Response:
        parsed, user = RepositoryName.parse_stored(name), _user(parts)
        if request.method == "PUT":
            index.opinions.star(parsed, user)
        elif request.method == "DELETE":
            index.opinions.unstar(parsed, user)
        else:
            index.catalog.get(parsed, user)
            return answers.ordinary({"starred": index.opinions.is_starred(parsed, user)})
        return answers.ordinary(status=204)

    @routes.get("/comments/<any_path:name>")
    @see
    def comments(name: str) -> Response:
        size, after = numbers.size(USUAL, MOST), numbers.of_query("after", 0, 2**62)
        user = _viewer(parts)
        parsed = RepositoryName.parse_stored(name)
        found = list(index.opinions.comments(parsed, user, after, size + 1))
        shown = [asdict(comment) for comment in found[:size]]
        return _paged({"comments": shown}, f"comments/{parsed}", found, size)

    @routes.post("/comments/<any_path:name>")
    @everybody("by who has an account, on what the asker may see: checked here")
    def comment(name: str) -> Response:
        user, text = _user(parts), _object(parts).get("text")
        if not isinstance(text, str):
            raise Failure(*errors.DATA_INVALID)
        made = index.opinions.comment(RepositoryName.parse_stored(name), user, text)
        return answers.ordinary({"id": made}, 201)

    @routes.delete("/comments/<any_path:name>")
    @everybody("one's own, or with the right to delete: checked here")
    def uncomment(name: str) -> Response:
        parsed, user = RepositoryName.parse_stored(name), _user(parts)
        index.opinions.remove_comment(
            parsed,
            numbers.of_query("id", 0, 2**62),
            user,
            any_author=parts.door.allows(parsed, Access.DELETE),
        )
        return answers.ordinary(status=204)

    @routes.get("/keys")
    @everybody("public keys")
    def keys() -> Response:
        index.tokens.ensure()  # the database may have been unreachable at the start
        shown = [{"id": key.id, "public": key.public} for key in index.tokens.all()]
        return answers.ordinary({"keys": shown})

    return routes


def _viewer(parts: Services) -> str | None:
    """In whose eyes things are shown: a token is for an image's way, and no more."""
    asker = parts.door.asker()
    return asker.user if asker.grant is None else None


def _user(parts: Services) -> str:
    user = _viewer(parts)
    if user is None:
        raise parts.door.rights.refusal(NOBODY)
    return user


def _object(parts: Services) -> dict[str, Any]:
    body.require_json()
    value = body.parsed(parts, errors.DATA_INVALID)
    if not isinstance(value, dict):
        raise Failure(*errors.DATA_INVALID)
    return value


def _paged(value: dict[str, Any], path: str, found: list[Any], size: int) -> Response:
    """With a `Link` header to the next page, if there is one (RFC 8288)."""
    headers = []
    if len(found) > size:
        last = found[size - 1]
        after = last if isinstance(last, str) else getattr(last, "name", None) or last.id
        query = urlencode({"n": size, "after": after})
        headers.append(("Link", f'</v1/index/{path}?{query}>; rel="next"'))
    return answers.ordinary(value, headers=headers)


_FLAGS = ("is_private", "is_official", "is_automated")
_TEXTS = {"description": "short", "full_description": "full"}


def _change(
    parts: Services, index: IndexServices, repository: RepositoryName, given: dict[str, Any]
) -> None:
    if unknown := set(given) - {*_FLAGS, *_TEXTS}:
        raise Failure(400, f"There is no {min(unknown)} to set")
    flags = {name: given[name] for name in _FLAGS if name in given}
    texts = {_TEXTS[name]: given[name] for name in _TEXTS if name in given}
    if not all(isinstance(value, bool) for value in flags.values()):
        raise Failure(*errors.DATA_INVALID)
    if not all(isinstance(value, str) for value in texts.values()):
        raise Failure(*errors.DATA_INVALID)
    if flags.keys() - {"is_private"} and not index.users.is_admin(parts.door.asker().user or ""):
        raise Failure(*errors.FORBIDDEN)
    index.catalog.describe(repository, **texts)
    if flags:
        index.catalog.flag(repository, **flags)
    if "is_private" in flags and isinstance(parts, RegistryServices):
        parts.repositories.set_private(repository, flags["is_private"])  # 0.x looks there, too
