"""Sessions: the signed-in user of the pages, in a signed cookie that only requests below `/ui/` carry.

The registry keeps no state. The cookie names the user and a fingerprint of the account
(`Rights.session_state`), which every request compares with the current account. A session without a
user belongs to an anonymous visitor of a page with a form; CSRF tokens are bound to it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response, g, request
from itsdangerous import BadData, URLSafeSerializer

from v1registry.api.services import Services
from v1registry.lib.auth.rights import ANONYMOUS, Caller, Credentials
from v1registry.lib.errors import Failure

COOKIE = "v1registry_session"
FLASH = "v1registry_flash"

#: The longest session of an account whose changes the registry cannot see (in a directory).
UNCHECKED_LIFE = 3600  # seconds

_LONGEST = 4000  # bytes; browsers drop longer cookies
_FLASH_LIFE = 60  # seconds

NO_SECRET = (
    503,
    "Sessions cannot be signed: the store is read-only and has no secret yet. An administrator must"
    " set web.secret",
)
NOT_SAME_SITE = (403, "The form was sent from a page of another site, so nothing was changed")
NO_TOKEN = (403, "The form is out of date, because its session has ended. Nothing was changed")
PASSWORD_REQUIRED = (403, "Sign in with the password of the account, not with an access token")


@dataclass(frozen=True, slots=True)
class Session:
    """A session: a random id, the caller, and its end in seconds since the epoch (0: with the browser)."""

    id: str
    caller: Caller = ANONYMOUS
    expires: int = 0


class Sessions:
    """Starts, reads and ends sessions, and checks forms."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._rights = services.authorizer.rights
        self._serializer: URLSafeSerializer | None = None
        # The cookie holds only groups that an access rule names: a directory may have thousands.
        self._groups = {
            word.removeprefix("@") for rule in services.config.access or () for word in rule.who
        }

    # -- sign-in ------------------------------------------------------------------------

    def sign_in(self, user: str, password: str) -> None:
        """Start a session. Raise Failure as `prove`."""
        self._signer()  # before a password is checked
        self.start(self.prove(user, password))

    def prove(self, user: str, password: str) -> Caller:
        """Return the caller with this password. Attempts are limited as those of engines are.

        Raise Failure as `Rights.identify`, or 403 for an access token.
        """
        authorizer = self._services.authorizer
        caller = self._rights.identify(
            Credentials(user=user, password=password), authorizer.address()
        )
        if caller.user is None:
            raise self._rights.refusal(ANONYMOUS)
        index = self._services.index
        if index is not None and not index.users.is_password(user, password):
            raise Failure(*PASSWORD_REQUIRED)
        return caller

    def start(self, caller: Caller) -> None:
        """Send a new session of `caller` with the response; also after a change of its password."""
        state = self._rights.session_state(caller)
        life = self._services.config.web.session_life
        if not state:
            life = min(life, UNCHECKED_LIFE)
        groups = caller.groups & self._groups
        found = Session(_new_id(), Caller(caller.user, groups), int(time.time()) + life)
        value = {
            "id": found.id,
            "user": caller.user,
            "groups": sorted(groups),
            "state": state,
            "expires": found.expires,
        }
        self._send(value, life)
        g.session = found
        self._services.authorizer.act_as(found.caller)

    def end(self) -> None:
        """End the session of this request."""
        g.session = None
        g.cookies[COOKIE] = ("", 0)

    # -- this request -------------------------------------------------------------------

    def open(self) -> None:
        """Read the session of this request, and let the request act as its user.

        A trusted proxy that names the user takes precedence. Basic credentials are ignored: a
        browser would send them again after a sign-out.
        """
        g.cookies = {}
        g.session = self._read()
        shown = self._services.authorizer.credentials()
        if shown.proxy_user is not None:
            proxied = Credentials(proxy_user=shown.proxy_user, proxy_groups=shown.proxy_groups)
            address = self._services.authorizer.address()
            self._services.authorizer.act_as(self._rights.identify(proxied, address))
        else:
            self._services.authorizer.act_as(g.session.caller if g.session else ANONYMOUS)

    def _read(self) -> Session | None:
        text = request.cookies.get(COOKIE)
        if not text or len(text) > _LONGEST or self._services.session_secret() is None:
            return None
        try:
            value = self._signer().loads(text, salt=COOKIE)
        except BadData:
            return None
        if value["user"] is None:
            return Session(value["id"])
        caller = Caller(value["user"], frozenset(value["groups"]))
        is_current = value["expires"] > time.time()
        if not is_current or self._rights.session_state(caller) != value["state"]:
            g.cookies[COOKIE] = ("", 0)
            g.has_expired = True
            return None
        return Session(value["id"], caller, value["expires"])

    # -- forms --------------------------------------------------------------------------

    def csrf_token(self) -> str:
        """Return the token for a form; start an anonymous session if there is none.

        Without a secret the token is empty, and `check_form` refuses the form.
        """
        if self._services.session_secret() is None:
            return ""
        if g.session is None:
            g.session = Session(_new_id())
            self._send({"id": g.session.id, "user": None}, None)
        return self._token(g.session)

    def check_form(self, form: Callable[[], Any]) -> None:
        """Raise Failure 403 unless this request comes from a form of a page of this session."""
        headers = request.headers
        site = headers.get("Sec-Fetch-Site", "same-origin")
        own = f"{request.scheme}://{request.host}"
        origin = headers.get("Origin", own)
        if site not in ("same-origin", "none") or _host(origin) != _host(own):
            raise Failure(*NOT_SAME_SITE)
        self._secret()
        given = headers.get("X-CSRF-Token") or form().get("csrf_token", "")
        session = g.session
        if session is None or not hmac.compare_digest(
            self._token(session).encode(), given.encode("utf-8", "replace")
        ):
            raise Failure(*NO_TOKEN)

    def _token(self, session: Session) -> str:
        return hmac.digest(self._secret(), f"csrf {session.id}".encode(), "sha256").hex()[:32]

    # -- messages -----------------------------------------------------------------------

    def flash(self, text: str, kind: str = "done") -> None:
        """Show `text` on the next page. `kind`: done, or error."""
        value = {"text": text, "kind": kind, "expires": int(time.time()) + _FLASH_LIFE}
        g.cookies[FLASH] = (self._signer().dumps(value, salt=FLASH), _FLASH_LIFE)

    def flashed(self) -> dict[str, str] | None:
        """Return the message for this page, once."""
        text = request.cookies.get(FLASH)
        if not text or self._services.session_secret() is None:
            return None
        g.cookies.setdefault(FLASH, ("", 0))
        try:
            value = self._signer().loads(text, salt=FLASH)
        except BadData:
            return None
        return value if value["expires"] > time.time() else None

    # -- cookies ------------------------------------------------------------------------

    def _send(self, value: dict[str, Any], life: int | None) -> None:
        text = self._signer().dumps(value, salt=COOKIE)
        if len(text) > _LONGEST:
            raise Failure(400, "The account has too many groups for a session")
        g.cookies[COOKIE] = (text, life)

    def _signer(self) -> URLSafeSerializer:
        if self._serializer is None:
            options = {"digest_method": hashlib.sha256}
            self._serializer = URLSafeSerializer(self._secret(), signer_kwargs=options)
        return self._serializer

    def _secret(self) -> bytes:
        secret = self._services.session_secret()
        if secret is None:
            raise Failure(*NO_SECRET)
        return secret


def set_cookies(response: Response) -> None:
    """Add the cookies of this request to its response, for the pages only, and not for scripts."""
    for name, (value, life) in g.get("cookies", {}).items():
        response.set_cookie(
            name,
            value,
            max_age=life,
            path=f"{request.root_path}/ui/",
            secure=request.scheme == "https",
            httponly=True,
            samesite="Lax",
        )


def _host(origin: str) -> str:
    """Return host and port of an origin. A proxy may have changed the scheme, so it is left out."""
    scheme, _, host = origin.lower().partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme, "")
    return host.removesuffix(default) if default else host


def _new_id() -> str:
    return secrets.token_urlsafe(18)
