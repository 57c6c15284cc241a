"""Credentials for other registries: from options, or from the file of `docker login`.

The file is docker's `config.json`: `auths` with base64 texts or identity tokens,
`credHelpers` and `credsStore` naming programs `docker-credential-NAME`
(https://docs.docker.com/reference/cli/docker/login/#credential-stores).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from v1registry.transfer.errors import TransferError

_HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
_HELPER_SECONDS = 30
_NOT_FOUND = "credentials not found"
_HELPER = re.compile(r"[A-Za-z0-9._+-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # RFC 7617 section 2; and no UTF-8


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """A user name and a password, or an identity token (`refresh`) instead of a password."""

    user: str
    password: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)


def config_file(environ: Mapping[str, str]) -> Path:
    """Return the path of Docker's configuration: in DOCKER_CONFIG, or else in the home folder."""
    folder = environ.get("DOCKER_CONFIG")
    return Path(folder or Path(environ.get("HOME", "/"), ".docker")) / "config.json"


def parse(text: str) -> RegistryLogin:
    """Parse `user:password`. Raise TransferError."""
    user, colon, password = text.partition(":")
    if not colon or not user:
        raise TransferError("credentials must be given as USER:PASSWORD")
    return _account("the credentials", user, password)


def find(host: str, file: Path) -> RegistryLogin | None:
    """Return the login for a registry, `host` or `host:port`; None if there is none.

    Raise TransferError if the file cannot be read, or a credential helper fails.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise TransferError(f"{file} cannot be read: {error}") from None
    except RecursionError:
        raise TransferError(f"{file} cannot be read: it is nested too deeply") from None
    if not isinstance(document, dict):
        raise TransferError(f"{file} is not a docker configuration")
    names = _names(host)
    helper = next((h for n in names if (h := _section(document, "credHelpers").get(n))), None)
    if helper is None:
        helper = document.get("credsStore")
    if helper and (account := _ask(helper, names)) is not None:
        return account
    auths = _section(document, "auths")
    for name in names:
        entry = auths.get(name)
        what = f"{file}: the entry of {name}"
        if isinstance(entry, dict) and (found := _entry(entry, what)):
            return found
    return None


def _names(host: str) -> list[str]:
    """Return the names under which the configuration may hold the registry."""
    names = [host, f"https://{host}", f"http://{host}"]
    names += [f"{name}/{tail}" for name in names for tail in ("", "v1/", "v2/")]
    return [*_HUB, *names] if host in _HUB else names


def _section(document: dict[str, Any], name: str) -> dict[str, Any]:
    section = document.get(name)
    return section if isinstance(section, dict) else {}


def _entry(entry: dict[str, Any], what: str) -> RegistryLogin | None:
    user, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        try:
            text = base64.b64decode(entry["auth"], validate=True).decode("utf-8")
        except (binascii.Error, ValueError, TypeError):
            raise TransferError(f"{what} cannot be read") from None
        user, _, password = text.partition(":")
        password = password.rstrip("\0")  # old engines padded it
    refresh = entry.get("identitytoken") or None
    return _account(what, user, password, refresh) if user or refresh else None


def _account(what: str, user: Any, password: Any, refresh: Any = None) -> RegistryLogin:
    """Return the login. Raise TransferError for values that cannot be sent; `what` names their source."""
    for value in (user, password, refresh or ""):
        if not isinstance(value, str):
            raise TransferError(f"{what} cannot be read: a user, password or token is not a text")
        if _CONTROL.search(value):
            raise TransferError(f"{what} cannot be used: it contains control characters")
    return RegistryLogin(user, password, refresh)


def _ask(helper: Any, names: list[str]) -> RegistryLogin | None:
    """Ask a credential helper for each name, until it knows one. Raise TransferError."""
    if not isinstance(helper, str) or not _HELPER.fullmatch(helper):
        raise TransferError(f"a credential helper cannot be called {str(helper)[:100]!r}")
    program = f"docker-credential-{helper}"
    for name in names:
        try:
            done = subprocess.run(
                [program, "get"],
                input=name,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_HELPER_SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise TransferError(f"the credential helper {program} is not installed") from None
        except OSError as error:
            raise TransferError(f"{program} cannot be run: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise TransferError(f"{program} did not answer") from None
        if done.returncode:
            if _NOT_FOUND in done.stdout + done.stderr:
                continue
            raise TransferError(f"{program} failed: {(done.stdout + done.stderr).strip()}")
        try:
            answer = json.loads(done.stdout)
            user, secret = answer["Username"], answer["Secret"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise TransferError(f"{program} answered without a valid account") from None
        what = f"the answer of {program}"
        return _account(what, "", "", secret) if user == "<token>" else _account(what, user, secret)
    return None
