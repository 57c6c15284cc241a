"""Administrators: accounts of our own index with the flag, or the users in the option `admins`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from flask import Response

from v1registry.api.authorize import mark
from v1registry.api.services import Services
from v1registry.lib import errors
from v1registry.lib.errors import Failure

P = ParamSpec("P")


def administrator(services: Services, command: str) -> str:
    """Return the name of the caller, who must be an administrator.

    Raise Failure 401 for anonymous callers and 403 for other users. Raise Failure 403 for everyone if
    this registry has no administrators over HTTP; its text names the `command` to use instead.
    """
    rights = services.authorizer.rights
    if rights.open or (services.index is None and not services.config.admins):
        raise Failure(errors.NO_ADMINISTRATORS[0], errors.NO_ADMINISTRATORS[1].format(command))
    caller = services.authorizer.caller()
    if caller.user is None or caller.grant is not None:  # a token for a repository is no login
        raise rights.refusal(caller)
    if services.index is not None:
        is_admin = services.index.users.is_admin(caller.user)
    else:
        is_admin = caller.user in services.config.admins
    if not is_admin:
        raise Failure(*errors.FORBIDDEN)
    return caller.user


def administrators_only(
    services: Services, command: str
) -> Callable[[Callable[P, Response]], Callable[P, Response]]:
    """Decorate a view that only administrators may call; see `administrator`."""

    def decorate(view: Callable[P, Response]) -> Callable[P, Response]:
        @wraps(view)
        def checked(*arguments: P.args, **named: P.kwargs) -> Response:
            administrator(services, command)
            return view(*arguments, **named)

        return mark(checked, "administrators")

    return decorate
