"""The door: the one place where a request is checked against who asks and what they may do.

Every endpoint goes through it, or says `everybody` why not; `unguarded` finds those that do
neither. What is behind it (an index, accounts, nobody) is `lib.rights`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from flask import Flask, Response, g, request

from v1registry.api import credentials
from v1registry.lib import errors
from v1registry.lib.auth.rights import NOBODY, Access, Caller, Credentials, IsPrivate, Rights
from v1registry.lib.errors import Failure
from v1registry.lib.images.push_provenance import Sender
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.repositories.image_access import ImageRights

P = ParamSpec("P")

_MARK = "__door__"


class Authorizer:
    """Checks requests. Raises Failure in the form of v1; who has another form asks `allows`."""

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

    # -- who asks -----------------------------------------------------------------

    def asker(self) -> Caller:
        """Who sent this request, found out once. Raise what `Rights.identify` raises."""
        if self.rights.open:
            return NOBODY
        if "asker" not in g:
            g.asker = self.rights.identify(self.credentials(), self.address())
        asker: Caller = g.asker
        return asker

    def address(self) -> str:
        """From where the request comes, as far as trusted proxies say so."""
        return request.environ.get("v1registry.client") or request.remote_addr or ""

    def credentials(self) -> Credentials:
        """What the request shows, and what a trusted proxy says of it."""
        shown = credentials.parse(request.headers.get("Authorization"))
        if self._user_header is None or not request.environ.get("v1registry.trusted"):
            return shown
        return credentials.vouched(
            shown,
            request.headers.get(self._user_header),
            request.headers.get(self._groups_header) if self._groups_header else None,
        )

    # -- repositories ---------------------------------------------------------------

    def allows(self, repository: RepositoryName | None, access: Access) -> bool:
        """Whether the asker may do that; None: with any repository at all."""
        return self.rights.may(self.asker(), repository, access)

    def repository(self, repository: RepositoryName, access: Access, hidden: errors.Text) -> None:
        """Let pass or raise Failure; `hidden` is what who may not even pull is told instead of 403,
        as if there were nothing.
        """
        if self.allows(repository, access):
            return
        asker = self.asker()
        if access is Access.PULL and asker.user is not None and asker.grant is None:
            raise Failure(*hidden)
        raise self.rights.refusal(asker)

    def bears_token(self, repository: RepositoryName) -> Access | None:
        """What the asker's token for this repository is for; None without one."""
        grant = self.asker().grant
        return grant.access if grant is not None and grant.repository == repository else None

    # -- images -----------------------------------------------------------------------

    def reads(self, view: Callable[[ImageId], Response]) -> Callable[[str], Response]:
        """A view of an image, for who may pull a repository that reaches it.

        To all others the image is an unknown one.
        """

        @wraps(view)
        def checked(image_id: str) -> Response:
            asker = self.asker()
            if not self.rights.may(asker, _granted(asker), Access.PULL):
                raise self.rights.refusal(asker)
            parsed = ImageId.parse(image_id)
            if not self._images.may_read(asker, parsed):
                if asker.is_nobody and self.rights.knows_users:
                    raise self.rights.refusal(asker)
                raise Failure(*errors.IMAGE_NOT_FOUND)
            return view(parsed)

        return mark(checked, "image pull")

    def pushes(self, view: Callable[[ImageId], Response]) -> Callable[[str], Response]:
        """A view that takes a part of an image, for who may push to some repository, and with a
        token, to its one.
        """

        @wraps(view)
        def checked(image_id: str) -> Response:
            asker = self.asker()
            if not self.rights.may(asker, _granted(asker), Access.PUSH):
                raise self.rights.refusal(asker)
            return view(ImageId.parse(image_id))

        return mark(checked, "image push")

    def may_read(self, image_id: ImageId) -> bool:
        """Whether the asker may read an image, of whatever repository."""
        return self._images.may_read(self.asker(), image_id)

    def sender(self) -> Sender | None:
        """The asker as one who pushes images; None where nobody is told apart."""
        return self._images.sender(self.asker())

    @property
    def _images(self) -> ImageRights:
        if self._image_rights is None:
            raise RuntimeError("an index alone has no images")
        return self._image_rights

    # -- answers ----------------------------------------------------------------------

    def is_private_answer(self) -> bool:
        """Whether a shared cache must not keep the answer to this request.

        What nobody in particular got, everybody may get. Where nothing is checked, somebody who
        shows a password means to be alone, and a token names a repository, which may be private.
        """
        if not self.rights.open:
            return not self.asker().is_nobody
        if "HTTP_AUTHORIZATION" not in request.environ:
            return False
        shown = self.credentials()
        if shown.user is not None:
            return True
        try:
            return self._is_private(RepositoryName.parse_quoted(shown.pair("repository") or ""))
        except Failure:
            return False


def everybody(why: str) -> Callable[[Callable[P, Response]], Callable[P, Response]]:
    """A view without a check, and the reason."""
    return lambda view: mark(view, f"everybody: {why}")


def mark(view: Callable[P, Response], rule: str) -> Callable[P, Response]:
    """Write down a view's rule; only for who has checked it."""
    setattr(view, _MARK, rule)
    return view


def rule(view: object) -> str | None:
    """The rule of a view, in words; None if it has none."""
    found: str | None = getattr(view, _MARK, None)
    return found


def unguarded(app: Flask) -> list[str]:
    """Endpoints that go past the door."""
    return sorted(name for name, view in app.view_functions.items() if rule(view) is None)


def _granted(asker: Caller) -> RepositoryName | None:
    return asker.grant.repository if asker.grant is not None else None
