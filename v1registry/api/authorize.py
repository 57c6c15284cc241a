"""Authorization: the only module that checks what the caller of a request may do.

Every endpoint is checked here, or says with `without_check` why it needs no check. `unguarded`
finds endpoints that do neither. The rights themselves come from an implementation of
`lib.auth.rights`: an index, accounts, or none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from flask import Flask, Response, g, request

from v1registry.api import credentials
from v1registry.lib import errors
from v1registry.lib.auth.rights import ANONYMOUS, Access, Caller, Credentials, IsPrivate, Rights
from v1registry.lib.errors import Failure
from v1registry.lib.images.push_provenance import Sender
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.repositories.image_access import ImageRights

P = ParamSpec("P")

_MARK = "__access_rule__"


class Authorizer:
    """Checks requests, and raises v1 failures. The v2 view, which has other errors, uses `allows`."""

    def __init__(
        self,
        rights: Rights,
        images: ImageRights | None,
        is_private: IsPrivate,
        *,
        user_header: str | None = None,
        groups_header: str | None = None,
    ) -> None:
        self.rights = rights
        self._image_rights = images
        self._is_private = is_private
        self._user_header = user_header
        self._groups_header = groups_header

    # -- the caller ---------------------------------------------------------------

    def caller(self) -> Caller:
        """Return the caller of this request, identified once. Raise what `Rights.identify` raises."""
        if self.rights.open:
            return ANONYMOUS
        if "caller" not in g:
            g.caller = self.rights.identify(self.credentials(), self.address())
        caller: Caller = g.caller
        return caller

    def act_as(self, caller: Caller) -> None:
        """Handle this request as one of `caller`, whom a session of the pages identifies."""
        g.caller = caller

    def address(self) -> str:
        """Return the client's address, as trusted proxies report it."""
        return request.environ.get("v1registry.client") or request.remote_addr or ""

    def credentials(self) -> Credentials:
        """Return the request's credentials, with the user and groups that a trusted proxy names."""
        shown = credentials.parse(request.headers.get("Authorization"))
        if self._user_header is None or not request.environ.get("v1registry.trusted"):
            return shown
        return credentials.of_proxy(
            shown,
            request.headers.get(self._user_header),
            request.headers.get(self._groups_header) if self._groups_header else None,
        )

    # -- repositories ---------------------------------------------------------------

    def allows(self, repository: RepositoryName | None, access: Access) -> bool:
        """Return whether the caller has this access; `repository` None: to any repository."""
        return self.rights.may(self.caller(), repository, access)

    def require(self, repository: RepositoryName, access: Access, hidden: errors.Text) -> None:
        """Raise Failure unless the caller has this access.

        A user who may not even pull gets `hidden` instead of 403, as if nothing existed.
        """
        if self.allows(repository, access):
            return
        caller = self.caller()
        if access is Access.PULL and caller.user is not None and caller.grant is None:
            raise Failure(*hidden)
        raise self.rights.refusal(caller)

    def token_access(self, repository: RepositoryName) -> Access | None:
        """Return the access that the caller's token grants to this repository; None without one."""
        grant = self.caller().grant
        return grant.access if grant is not None and grant.repository == repository else None

    # -- images -----------------------------------------------------------------------

    def requires_read(self, view: Callable[[ImageId], Response]) -> Callable[[str], Response]:
        """Decorate a view of an image: the caller must be able to pull a repository with the image.

        For all other callers, the image does not exist.
        """

        @wraps(view)
        def checked(image_id: str) -> Response:
            caller = self.caller()
            if not self.rights.may(caller, _granted(caller), Access.PULL):
                raise self.rights.refusal(caller)
            parsed = ImageId.parse(image_id)
            if not self._images.may_read(caller, parsed):
                if caller.is_anonymous and self.rights.knows_users:
                    raise self.rights.refusal(caller)
                raise Failure(*errors.IMAGE_NOT_FOUND)
            return view(parsed)

        return mark(checked, "image pull")

    def requires_push(self, view: Callable[[ImageId], Response]) -> Callable[[str], Response]:
        """Decorate a view that receives part of an image: the caller must be able to push.

        A token must allow a push to its own repository. Other callers may push to any repository.
        """

        @wraps(view)
        def checked(image_id: str) -> Response:
            caller = self.caller()
            if not self.rights.may(caller, _granted(caller), Access.PUSH):
                raise self.rights.refusal(caller)
            return view(ImageId.parse(image_id))

        return mark(checked, "image push")

    def may_read(self, image_id: ImageId) -> bool:
        """Return whether the caller may read an image of any repository."""
        return self._images.may_read(self.caller(), image_id)

    def sender(self) -> Sender | None:
        """Return the caller as the sender of an image; None if the registry knows no users."""
        return self._images.sender(self.caller())

    @property
    def _images(self) -> ImageRights:
        if self._image_rights is None:
            raise RuntimeError("an index without a registry has no images")
        return self._image_rights

    # -- answers ----------------------------------------------------------------------

    def is_private_answer(self) -> bool:
        """Return whether shared caches must not keep the response to this request.

        Anonymous responses may be cached publicly. In a registry without access rules, a response
        to a request with a password is private, as is one to a token for a private repository.
        """
        if not self.rights.open:
            return not self.caller().is_anonymous
        if "HTTP_AUTHORIZATION" not in request.environ:
            return False
        shown = self.credentials()
        if shown.user is not None:
            return True
        try:
            return self._is_private(RepositoryName.parse_quoted(shown.pair("repository") or ""))
        except Failure:
            return False


def without_check(reason: str) -> Callable[[Callable[P, Response]], Callable[P, Response]]:
    """Decorate a view that no access rule protects, or that checks access itself."""
    return lambda view: mark(view, f"no check: {reason}")


def mark(view: Callable[P, Response], rule: str) -> Callable[P, Response]:
    """Record the access rule of a view. The caller of this function must enforce the rule."""
    setattr(view, _MARK, rule)
    return view


def rule(view: object) -> str | None:
    """Return the access rule of a view, in words; None if it has none."""
    found: str | None = getattr(view, _MARK, None)
    return found


def unguarded(app: Flask) -> list[str]:
    """Return the endpoints without an access rule."""
    return sorted(name for name, view in app.view_functions.items() if rule(view) is None)


def _granted(caller: Caller) -> RepositoryName | None:
    return caller.grant.repository if caller.grant is not None else None
