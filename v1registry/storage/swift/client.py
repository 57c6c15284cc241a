"""The client of the Swift driver: one container of one account.

keystoneauth1 and swiftclient are extras: only the driver `swift` imports this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session
from swiftclient import authv1
from swiftclient.utils import generate_temp_url

from v1registry.storage.errors import Refused, StorageError, Unavailable
from v1registry.storage.openstack import OpenStackClient, password_plugin


class SwiftAccount(OpenStackClient):
    """One container of one account of a Swift. A path is an object's name, or None: the container."""

    name = "swift"
    service_type = "object-store"
    user = "swift_user"
    address_options = "swift_region_name, swift_endpoint_type"
    done = MappingProxyType(
        {"GET": (200, 204, 206), "HEAD": (200, 204), "PUT": (201, 202), "DELETE": (200, 204)}
    )
    # 401: keystoneauth1 has fetched a new token by then; and Swift refuses valid tokens while its
    # memcached is slow. 422: damaged on the way. 498, 499: Swift's own, for too many requests and for
    # a slow one.
    busy = (401, 422, 498, 499)

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options, options["swift_authurl"])
        self.container = str(options["swift_container"])
        self.new_plugin()  # raises Refused for wrong options

    def temporary_url(self, name: str, key: str, digest: str, seconds: int) -> str:
        """Return a signed URL, with which any client can fetch the object until it expires."""
        account = urlsplit(self._public())
        path = f"{account.path.rstrip('/')}/{self.container}/{name}"
        with self.mapped_errors():
            signed = str(generate_temp_url(path, seconds, key, "GET", digest=digest))
        return f"{account.scheme}://{account.netloc}{quote(path)}{signed[len(path) :]}"

    def public_url(self, name: str) -> str:
        """Return the object's URL for anonymous clients, if the container is public."""
        return self._join(self._public(), name)

    def url_keys(self) -> set[str] | None:
        """Return the keys that may sign temporary URLs; None if this user may not read them."""
        account = self.of_container("HEAD", of_account=True, ok=(401, 403, 404))
        if not account.ok:
            return None
        both = (account.headers, self.of_container("HEAD").headers)
        names = [
            f"X-{of}-Meta-Temp-URL-Key{no}" for of in ("Account", "Container") for no in ("", "-2")
        ]
        return {one[name] for one in both for name in names if name in one}

    def is_public(self) -> bool:
        """Return whether anonymous clients may read the container's objects."""
        readers = self.of_container("HEAD").headers.get("X-Container-Read", "")
        return ".r:*" in readers.replace(" ", "").split(",")

    def of_container(self, method: str, **more: Any) -> requests.Response:
        """Send a request about the container; see `request`."""
        return self.request(method, None, self.container, **more)

    def _send(
        self,
        method: str,
        path: str | None,
        *,
        of_account: bool = False,
        session: Session | None = None,
        **more: Any,
    ) -> requests.Response:
        session = session or self.session()
        account = self.endpoint_of(session, self._options["swift_endpoint_type"])
        url = account if of_account else self._join(account, path)
        answer: requests.Response = session.request(url, method, raise_exc=False, log=False, **more)
        return answer

    def _join(self, endpoint: str, name: str | None) -> str:
        url = f"{endpoint.rstrip('/')}/{quote(self.container, safe='')}"
        return url if name is None else f"{url}/{quote(name)}"

    def _public(self) -> str:
        with self.mapped_errors():
            return self.endpoint_of(self.session(), "public")

    def refusal(self, answer: requests.Response, key: str) -> StorageError:
        if answer.status_code == 404 and (answer.request.method == "PUT" or key == self.container):
            return Refused(
                f"{self.container}: swift_container names a container that does not exist"
            )
        error = super().refusal(answer, key)
        # 409: a newer write by another client
        return Unavailable(str(error)) if answer.status_code == 409 else error

    def new_plugin(self) -> BaseAuthPlugin:
        options = self._options
        version, url = auth_version(options), str(options["swift_authurl"])
        user, password = options["swift_user"], options["swift_password"]
        project = options["swift_tenant_name"] or options["swift_project_name"] or None
        if urlsplit(url).scheme not in ("http", "https"):
            raise Refused("swift_authurl: must be a URL that begins with http:// or https://")
        if version == 1:
            plugin: BaseAuthPlugin = authv1.PasswordPlugin(url, user, password)
            return plugin
        if project is None:
            raise Refused(f"swift_tenant_name: must be set with version {version} of Keystone")
        end = "/v2.0" if version == 2 else "/v3"
        domains = options["swift_user_domain"], options["swift_project_domain"]
        url = f"{url.rstrip('/').removesuffix(end)}{end}"
        return password_plugin(url, version, user, password, project, domains)


def auth_version(options: Mapping[str, Any]) -> int:
    """Return the version of the authentication API: 1, 2 or 3, as configured or by the URL."""
    if options["swift_auth_version"]:
        return int(options["swift_auth_version"])
    path = urlsplit(options["swift_authurl"]).path.rstrip("/")
    if "/auth" in path or path.endswith(("/v1", "/v1.0")):
        return 1
    return 2 if path.endswith(("/v2", "/v2.0")) else 3
