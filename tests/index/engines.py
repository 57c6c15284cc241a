"""The requests of Docker engines to an index and its registries, from login to pull, in order."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests import raw
from tests.live_server import Server
from tests.protocol.engine import Image, expect, quoted

MAGIC = b'"Username or email already exists"'


@dataclass
class Engine:
    """One engine. `servers` are those that it can reach, the index first.

    `registers`: engines up to 1.10 first try to make the account. `asks_by_basic`: over https, of
    an index that says that it stands alone, every request bears the password and no token.
    """

    servers: Sequence[Server]
    user: str = ""
    password: str = ""
    registers: bool = True
    version: str = "1.6.2"
    asks_by_basic: bool = False
    last: list[raw.Answer] = field(default_factory=list)

    @property
    def index(self) -> Server:
        return self.servers[0]

    # -- login ----------------------------------------------------------------------

    def login(self, email: str = "") -> int:
        """Return the deciding status: 201 for a new account, 200 for a correct password."""
        if self.registers:
            given = {"username": self.user, "password": self.password, "auth": "", "email": email}
            headers = {"Content-Type": "application/json; charset=utf-8"}
            answer = self._ask(
                self.index, "POST", "/v1/users/", json.dumps(given).encode(), headers
            )
            if answer.status == 201:
                return 201
            if answer.status == 400 and answer.body != MAGIC:
                return 400  # "Registration: ..."
            if answer.status not in (400, 401):
                return answer.status
        return self._ask(self.index, "GET", "/v1/users/", None, self._basic).status

    # -- push and pull ----------------------------------------------------------------

    def push(self, repository: str, images: Sequence[Image], tag: str = "latest") -> list[str]:
        """Push, and return the ids that were uploaded. Images that the registry has are not uploaded."""
        listed = json.dumps([{"id": one.id, "Tag": tag} for one in images]).encode()
        path = f"/v1/repositories/{repository}/"
        endpoint, headers = self._index(expect(self.ask_index("PUT", path, listed)))
        uploaded = []
        for one in images:
            if self._ask(endpoint, "GET", one.path("json"), None, headers).status == 200:
                continue
            answer = self._ask(endpoint, "PUT", one.path("json"), one.json, headers)
            if answer.status == 409 and answer.json() == {"error": "Image already exists"}:
                continue
            expect(answer)
            expect(raw.put(endpoint, one.path("layer"), one.layer, headers, chunk=4096))
            sums = {**headers, "X-Docker-Checksum-Payload": one.checksum}
            expect(self._ask(endpoint, "PUT", one.path("checksum"), b"", sums))
            uploaded.append(one.id)
        path = f"/v1/repositories/{repository}/tags/{tag}"
        expect(self._ask(endpoint, "PUT", path, quoted(images[-1].id), headers))
        expect(self.ask_index("PUT", f"/v1/repositories/{repository}/images", b"[]"), 204)
        return uploaded

    def pull(self, repository: str, tag: str = "latest") -> dict[str, bytes]:
        """Return the layers by image id."""
        path = f"/v1/repositories/{repository}/images"
        endpoint, headers = self._index(expect(self.ask_index("GET", path)))
        path = f"/v1/repositories/{repository}/tags"
        tags = expect(self._ask(endpoint, "GET", path, None, headers)).json()
        found = {}
        ancestry = expect(
            self._ask(endpoint, "GET", f"/v1/images/{tags[tag]}/ancestry", None, headers)
        )
        for id in reversed(ancestry.json()):
            expect(self._ask(endpoint, "GET", f"/v1/images/{id}/json", None, headers))
            answer = self._ask(endpoint, "GET", f"/v1/images/{id}/layer", None, headers)
            found[id] = expect(answer).body
        return found

    def delete(self, repository: str) -> None:
        """Delete a repository in the three steps of the index's specification."""
        path = f"/v1/repositories/{repository}/"
        endpoint, headers = self._index(expect(self.ask_index("DELETE", path, None), 202))
        expect(self._ask(endpoint, "DELETE", path, None, headers))
        expect(self.ask_index("DELETE", f"/v1/repositories/{repository}/images"), 204)

    def search(self, query: str) -> list[dict[str, object]]:
        answer = self.ask_index("GET", f"/v1/search?q={query}")
        results: list[dict[str, object]] = expect(answer).json()["results"]
        return results

    # -- requests -----------------------------------------------------------------------

    def ask_index(self, method: str, path: str, body: bytes | None = None) -> raw.Answer:
        """Return headers with the password that ask for a token."""
        headers = {"X-Docker-Token": "true", **self._basic}
        return self._ask(self.index, method, path, body, headers)

    @property
    def _basic(self) -> dict[str, str]:
        # without a login, engines up to 1.5 send an empty pair
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def _index(self, answer: raw.Answer) -> tuple[Server, Mapping[str, str]]:
        """Return the registry that the index names, and the headers with its token."""
        hosts = answer.all("X-Docker-Endpoints")
        server = next(one for one in self.servers if one.host == hosts[0])
        if self.asks_by_basic:
            return server, self._basic
        token = answer.header("X-Docker-Token")
        assert token is not None, str(answer)
        return server, {"Authorization": f"Token {token}"}

    def _ask(
        self,
        server: Server,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> raw.Answer:
        agent = {
            "User-Agent": f"docker/{self.version} go/go1.4.1 kernel/3.19.0 os/linux arch/amd64"
        }
        return raw.request(server, method, path, {**agent, **(headers or {})}, body)
