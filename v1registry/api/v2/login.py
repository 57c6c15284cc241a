"""Who asks over v2: Basic or Bearer, as the registry's own rights say.

Where users are told apart, the base says so with 401 and names our own token service, since clients
decide there, once, whether they show anything later on. Without a password it gives tokens as well:
for what anybody may pull.
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
from v1registry.lib.auth.rights import NOBODY, Access, Caller
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName

TOKEN_PATH = "_token"  # no repository is called so

_SCOPE = re.compile(r"repository(?:\([a-z]+\))?:([^:\s]+):([a-z,*]+)")


def admit(parts: RegistryServices, repository: RepositoryName | None) -> None:
    """Let pass who may pull from the repository; None: whoever showed what counts. Raise Failure."""
    rights = parts.door.rights
    if rights.open:
        return
    asker = _asker(parts, repository)
    if repository is None:
        if not rights.knows_users or "bearer" in g or not asker.is_nobody:
            return
        raise _challenge(parts, None)
    if rights.may(asker, repository, Access.PULL):
        return
    if asker.user is None and rights.knows_users:
        raise _challenge(parts, repository)
    raise OciFailure(403, "DENIED", errors.FORBIDDEN[1])


def token(parts: RegistryServices) -> Response:
    """The token service: who shows a right password, or none, gets a token."""
    rights = parts.door.rights
    if rights.open or not parts.v2.bearer.is_possible():
        raise OciFailure(404, "UNSUPPORTED", "There is nothing to log in to")
    asker = NOBODY
    shown = parts.door.credentials()
    try:
        asker = rights.for_bearer(shown, parts.door.address(), _scope())
    except Failure as failure:
        failure.headers.pop("WWW-Authenticate", None)
        if failure.status == 401:
            failure.headers["WWW-Authenticate"] = _basic()
        raise
    now = time.time()
    text = parts.v2.bearer.issue(asker, now, rights.state(asker))
    issued = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    value = {"token": text, "access_token": text, "expires_in": life(asker), "issued_at": issued}
    answer = json_answer(value)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _asker(parts: RegistryServices, repository: RepositoryName | None) -> Caller:
    """Who asks, found out once; the door takes it from there."""
    shown = parts.door.credentials()
    scheme, _, text = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and shown.vouched is None:
        asker = _bearer(parts, text.strip())
        if asker is None:
            raise _challenge(parts, repository, "invalid_token")
        g.bearer = True
    else:
        try:
            asker = parts.door.rights.of_v2(shown, parts.door.address(), repository)
        except Failure as failure:
            if failure.status == 401:
                raise _challenge(parts, repository) from None
            raise
    g.asker = asker
    return asker


def _bearer(parts: RegistryServices, text: str) -> Caller | None:
    """The bearer of a token; None if the token, or the v1 token in it, does not count any more."""
    asker = parts.v2.bearer.read(text, time.time(), parts.door.rights.state)
    if asker is None or asker.credentials.token is None:
        return asker
    shown = credentials.parse(f"Token {asker.credentials.token}")
    try:
        found = parts.door.rights.identify(shown, parts.door.address())
        return replace(found, user=found.user or asker.user)  # not every token names its user
    except Failure as failure:
        if failure.status == 401:
            return None
        raise


def _challenge(
    parts: RegistryServices, repository: RepositoryName | None, error: str | None = None
) -> OciFailure:
    failure = OciFailure(401, "UNAUTHORIZED", errors.UNAUTHORIZED[1])
    if not parts.v2.bearer.is_possible():
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
    """The repository that the first scope names, if it is one."""
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
