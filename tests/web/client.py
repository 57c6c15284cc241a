"""A visitor without a browser: keeps cookies, and posts forms as a browser does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from tests import raw
from tests.index.conftest import PASSWORD
from tests.live_server import Server

_TOKEN = re.compile(rb'name="csrf_token" value="([0-9a-f]+)"')


#: Fields of a form: a list is a field that occurs several times.
Fields = Mapping[str, str | list[str]]


class Visitor:
    """Requests with the cookies of the responses before. `token` is the last CSRF token seen."""

    def __init__(self, server: Server, **headers: str) -> None:
        self.server = server
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.cookies: dict[str, str] = {}
        self.token = ""

    def get(self, path: str, **headers: str) -> raw.Answer:
        return self._send("GET", path, None, headers)

    def post(self, path: str, fields: Fields | None = None, **headers: str) -> raw.Answer:
        """Post the fields with the CSRF token, unless they name another one."""
        return self.ask("POST", path, fields, **headers)

    def ask(
        self, method: str, path: str, fields: Fields | None = None, **headers: str
    ) -> raw.Answer:
        """Send a form by any method; a GET has none."""
        if method == "GET":
            return self.get(path, **headers)
        pairs = {"csrf_token": self.token, **(fields or {})}
        form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": self.server.url}
        body = urlencode(pairs, doseq=True).encode()
        return self._send(method, path, body, {**form, **headers})

    def sign_in(self, name: str, password: str = PASSWORD) -> raw.Answer:
        self.get("/ui/sign-in")
        answer = self.post("/ui/sign-in", {"name": name, "password": password})
        if answer.status == 303:
            self.get("/ui/")
        return answer

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> raw.Answer:
        sent = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = raw.request(self.server, method, path, sent, body)
        for line in answer.all("Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        if match := _TOKEN.search(answer.body):
            self.token = match[1].decode()
        return answer
