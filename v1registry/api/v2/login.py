"""Authentication of v2 clients by Basic or Bearer, and the token service.

Clients decide once, by the response to `/v2/`, whether they send credentials later. So a registry
with users always responds 401 there, and names its token service. The token service also gives
tokens to anonymous clients, for repositories that anonymous clients may pull.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime

from flask import Response, g, request

from v1registry.api import credentials
from v1registry.api.ocierrors import OciFailure
from v1registry.api.services import RegistryServices
from v1registry.api.v2.answers import json_answer
from v1registry.lib import errors
from v1registry.lib.auth.bearer import life
from v1registry.lib.auth.rights import ANONYMOUS, Access, Caller
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

TOKEN_PATH = "_token"  # no legal repository name for v2

_SCOPE = re.compile(r"repository(?:\([a-z]+\))?:([^:\s]+):([a-z,*]+)")


def admit(services: RegistryServices, repository: RepositoryName | None) -> None:
    """Raise Failure unless the caller may pull from the repository; None: unless authenticated."""
    rights = services.authorizer.rights
    if rights.open:
        return
    caller = _caller(services, repository)
    if repository is None:
        if not rights.knows_users or "bearer" in g or not caller.is_anonymous:
            return
        raise _challenge(services, None)
    if rights.may(caller, repository, Access.PULL):
        return
    if caller.user is None and rights.knows_users:
        raise _challenge(services, repository)
    raise OciFailure(403, "DENIED", errors.FORBIDDEN[1])


def token(services: RegistryServices) -> Response:
    """Issue a bearer token to a client with a correct password, or to an anonymous client."""
    rights = services.authorizer.rights
    if rights.open or not services.v2.bearer.is_possible():
        raise OciFailure(404, "UNSUPPORTED", "There is nothing to log in to")
    caller = ANONYMOUS
    shown = services.authorizer.credentials()
    try:
        caller = rights.for_bearer(shown, services.authorizer.address(), _scope())
    except Failure as failure:
        failure.headers.pop("WWW-Authenticate", None)
        if failure.status == 401:
            failure.headers["WWW-Authenticate"] = _basic()
        raise
    now = time.time()
    text = services.v2.bearer.issue(caller, now, rights.state(caller))
    issued = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    value = {"token": text, "access_token": text, "expires_in": life(caller), "issued_at": issued}
    answer = json_answer(value)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _caller(services: RegistryServices, repository: RepositoryName | None) -> Caller:
    """Identify the caller once, and note it in `g` for `Authorizer.caller`."""
    shown = services.authorizer.credentials()
    scheme, _, text = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and shown.proxy_user is None:
        caller = _bearer(services, text.strip())
        if caller is None:
            raise _challenge(services, repository, "invalid_token")
        g.bearer = True
    else:
        try:
            caller = services.authorizer.rights.of_v2(
                shown, services.authorizer.address(), repository
            )
        except Failure as failure:
            if failure.status == 401:
                raise _challenge(services, repository) from None
            raise
    g.caller = caller
    return caller


def _bearer(services: RegistryServices, text: str) -> Caller | None:
    """Return the bearer of a token; None if the token, or the v1 token in it, is no longer valid."""
    caller = services.v2.bearer.read(text, time.time(), services.authorizer.rights.state)
    if caller is None or caller.credentials.token is None:
        return caller
    shown = credentials.parse(f"Token {caller.credentials.token}")
    try:
        found = services.authorizer.rights.identify(shown, services.authorizer.address())
        return replace(found, user=found.user or caller.user)  # some v1 tokens name no user
    except Failure as failure:
        if failure.status == 401:
            return None
        raise


def _challenge(
    services: RegistryServices, repository: RepositoryName | None, error: str | None = None
) -> OciFailure:
    failure = OciFailure(401, "UNAUTHORIZED", errors.UNAUTHORIZED[1])
    if not services.v2.bearer.is_possible():
        failure.headers["WWW-Authenticate"] = _basic()
        return failure
    pairs = {
        "realm": f"{request.scheme}://{request.host}/v2/{TOKEN_PATH}",
        "service": request.host,
    }
    if repository is not None:
        pairs["scope"] = f"repository:{repository}:pull"
    if error is not None:
        pairs["error"] = error
    text = ",".join(f'{name}="{value}"' for name, value in pairs.items())
    failure.headers["WWW-Authenticate"] = f"Bearer {text}"
    return failure


def _scope() -> RepositoryName | None:
    """Return the repository of the first repository scope; None if its name is not legal."""
    for text in " ".join(request.args.getlist("scope")).split():
        match = _SCOPE.fullmatch(text)
        if match is not None:
            try:
                return RepositoryName.parse(match[1])
            except Failure:
                return None
    return None


def _basic() -> str:
    return 'Basic realm="Docker registry"'
