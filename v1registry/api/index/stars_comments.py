"""JSON endpoints below `/v1/index/` for tools and pages. Engines do not use them.

| Path | |
|---|---|
| GET, PUT `repositories/NAME` | a repository with its full description; PUT sets the given members |
| GET `stars?n=&after=` | names of the repositories that the caller starred |
| GET, PUT, DELETE `stars/NAME` | whether the caller starred it; star it; remove the star |
| GET `comments/NAME?n=&after=`, POST | comments, the oldest first; add one: `{"text": ...}` |
| DELETE `comments/NAME?id=` | the caller's comment; any, with access to delete the repository |
| GET `keys` | public keys that verify tokens |
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, request

from v1registry.api import answers, body, changes, paging
from v1registry.api.authorize import without_check
from v1registry.api.services import IndexServices, Services
from v1registry.lib import errors
from v1registry.lib.auth.rights import ANONYMOUS, Access
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

MOST = 1000  # entries on a page
USUAL = 100


def blueprint(services: Services, index: IndexServices) -> Blueprint:
    routes = Blueprint("catalog", __name__, url_prefix="/v1/index")
    see = without_check("it shows only repositories that the caller may see")

    @routes.get("/repositories/<any_path:name>")
    @see
    def repository(name: str) -> Response:
        parsed = RepositoryName.parse_stored(name)
        found = asdict(index.catalog.get(parsed, _viewer(services)))
        found["full_description"] = index.catalog.full_description(parsed)
        return answers.uncached_json(found)

    @routes.put("/repositories/<any_path:name>")
    @without_check("it requires access to delete itself")
    def change(name: str) -> Response:
        parsed = RepositoryName.parse_stored(name)
        given = _json_object(services)
        services.authorizer.require(parsed, Access.DELETE, errors.REPOSITORY_NOT_FOUND)
        _change(services, index, parsed, given)
        return answers.uncached_json(status=204)

    @routes.get("/stars")
    @without_check("it checks itself: the caller's own stars")
    def starred() -> Response:
        size, after = paging.page_size(USUAL, MOST), request.args.get("after", "")
        found = list(index.opinions.starred(_user(services), after, size + 1))
        return _paged({"repositories": found[:size]}, "stars", found, size)

    @routes.route("/stars/<any_path:name>", methods=["GET", "PUT", "DELETE"])
    @without_check(
        "it checks itself: the caller's own star, on a repository that the caller may see"
    )
    def star(name: str) -> Response:
        parsed, user = RepositoryName.parse_stored(name), _user(services)
        if request.method == "PUT":
            index.opinions.star(parsed, user)
        elif request.method == "DELETE":
            index.opinions.unstar(parsed, user)
        else:
            index.catalog.get(parsed, user)
            return answers.uncached_json({"starred": index.opinions.is_starred(parsed, user)})
        return answers.uncached_json(status=204)

    @routes.get("/comments/<any_path:name>")
    @see
    def comments(name: str) -> Response:
        size, after = paging.page_size(USUAL, MOST), paging.query_number("after", 0, 2**62)
        user = _viewer(services)
        parsed = RepositoryName.parse_stored(name)
        found = list(index.opinions.comments(parsed, user, after, size + 1))
        shown = [asdict(comment) for comment in found[:size]]
        return _paged({"comments": shown}, f"comments/{parsed}", found, size)

    @routes.post("/comments/<any_path:name>")
    @without_check("it checks itself: users only, on repositories that the caller may see")
    def comment(name: str) -> Response:
        user, text = _user(services), _json_object(services).get("text")
        if not isinstance(text, str):
            raise Failure(*errors.DATA_INVALID)
        made = index.opinions.comment(RepositoryName.parse_stored(name), user, text)
        return answers.uncached_json({"id": made}, 201)

    @routes.delete("/comments/<any_path:name>")
    @without_check("it checks itself: the caller's own comment, or access to delete")
    def uncomment(name: str) -> Response:
        parsed, user = RepositoryName.parse_stored(name), _user(services)
        index.opinions.remove_comment(
            parsed,
            paging.query_number("id", 0, 2**62),
            user,
            any_author=services.authorizer.allows(parsed, Access.DELETE),
        )
        return answers.uncached_json(status=204)

    @routes.get("/keys")
    @without_check("public keys")
    def keys() -> Response:
        index.tokens.ensure()  # the database may have been unreachable at the start
        shown = [{"id": key.id, "public": key.public} for key in index.tokens.all()]
        return answers.uncached_json({"keys": shown})

    return routes


def _viewer(services: Services) -> str | None:
    """Return the user that sees the response. Push and pull tokens do not identify a user."""
    caller = services.authorizer.caller()
    return caller.user if caller.grant is None else None


def _user(services: Services) -> str:
    user = _viewer(services)
    if user is None:
        raise services.authorizer.rights.refusal(ANONYMOUS)
    return user


def _json_object(services: Services) -> dict[str, Any]:
    body.require_json()
    return body.json_object(services, errors.DATA_INVALID)


def _paged(value: dict[str, Any], path: str, found: list[Any], size: int) -> Response:
    """Return a response with a `Link` header to the next page, if there is one."""
    headers: answers.Headers = []
    if len(found) > size:
        last = found[size - 1]
        after = last if isinstance(last, str) else getattr(last, "name", None) or last.id
        headers = paging.next_page(f"/v1/index/{path}", n=size, after=after)
    return answers.uncached_json(value, headers=headers)


_FLAGS = ("is_private", "is_official", "is_automated")
_TEXTS = {"description": "short", "full_description": "full"}


def _change(
    services: Services, index: IndexServices, repository: RepositoryName, given: dict[str, Any]
) -> None:
    if unknown := set(given) - {*_FLAGS, *_TEXTS}:
        raise Failure(400, f"A repository has no member {min(unknown)} that can be set")
    flags = {name: given[name] for name in _FLAGS if name in given}
    texts = {_TEXTS[name]: given[name] for name in _TEXTS if name in given}
    if not all(isinstance(value, bool) for value in flags.values()):
        raise Failure(*errors.DATA_INVALID)
    if not all(isinstance(value, str) for value in texts.values()):
        raise Failure(*errors.DATA_INVALID)
    if flags.keys() - {"is_private"} and not index.users.is_admin(
        services.authorizer.caller().user or ""
    ):
        raise Failure(*errors.FORBIDDEN)
    index.catalog.describe(repository, **texts)
    private = flags.pop("is_private", None)
    if flags:
        index.catalog.flag(repository, **flags)
    if private is not None:
        changes.set_private(services, repository, private)
