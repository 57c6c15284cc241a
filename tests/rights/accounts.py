"""A registry with accounts, for tests: its password file, and requests in somebody's name."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import bcrypt

from tests import raw
from tests.live_server import Server
from tests.protocol import engine
from tests.protocol.engine import Image

PASSWORD = "open sesame"
JSON = {"Content-Type": "application/json"}


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def password_file(folder: Path, names: Iterable[str], password: str = PASSWORD) -> Path:
    """A file in which everybody has the same password."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "htpasswd"
    one = hashed(password)
    file.write_text("".join(f"{name}:{one}\n" for name in names))
    return file


def environment(file: Path | None, rules: object = None, **more: str) -> dict[str, str]:
    """The variables that switch accounts on."""
    found = {"ACCOUNTS_ATTEMPTS": "0", **more}
    if file is not None:
        found["ACCOUNTS_HTPASSWD"] = str(file)
    if rules is not None:
        found["ACCESS_RULES"] = json.dumps(rules)
    return found


def basic(user: str | None, password: str = PASSWORD) -> dict[str, str]:
    """The header of somebody; nothing for nobody."""
    if user is None:
        return {}
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


class Client:
    """Sends requests with the same headers each time, and pushes and pulls as engines do."""

    def __init__(self, server: Server, headers: Mapping[str, str]) -> None:
        self.server = server
        self.headers = dict(headers)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> raw.Answer:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return raw.request(self.server, method, path, {**self.headers, **more}, body)

    def upload(self, image: Image) -> None:
        """JSON, layer and checksum; each must be answered by exactly 200."""
        engine.expect(self.ask("PUT", image.path("json"), image.json))
        engine.expect(
            raw.put(self.server, image.path("layer"), image.layer, self.headers, chunk=4096)
        )
        self.finish(image)

    def finish(self, image: Image, status: int = 200) -> raw.Answer:
        checksum = {"X_Docker_Checksum_Payload": image.checksum}
        return engine.expect(self.ask("PUT", image.path("checksum"), b"", **checksum), status)

    def push(self, repository: str, images: Sequence[Image], tag: str = "latest") -> list[str]:
        """As engines 0.10 to 1.13 do; return the ids that were uploaded and not just there."""
        listed = json.dumps([{"id": image.id} for image in images]).encode()
        engine.expect(self.ask("PUT", f"/v1/repositories/{repository}/", listed))
        uploaded = []
        for image in images:
            if self.ask("GET", image.path("json")).status == 200:
                continue
            answer = self.ask("PUT", image.path("json"), image.json)
            if answer.status == 409 and answer.json() == {"error": "Image already exists"}:
                continue
            self.upload(image)
            uploaded.append(image.id)
        self.tag(repository, images[-1].id, tag)
        engine.expect(self.ask("PUT", f"/v1/repositories/{repository}/images", b"[]"), 204)
        return uploaded

    def tag(self, repository: str, image_id: str, tag: str = "latest", status: int = 200) -> None:
        path = f"/v1/repositories/{repository}/tags/{tag}"
        engine.expect(self.ask("PUT", path, engine.quoted(image_id)), status)

    def pull(self, repository: str, tag: str = "latest") -> dict[str, bytes]:
        """Layers by id, as engines get them."""
        engine.expect(self.ask("GET", f"/v1/repositories/{repository}/images"))
        tags = engine.expect(self.ask("GET", f"/v1/repositories/{repository}/tags")).json()
        ancestry = engine.expect(self.ask("GET", f"/v1/images/{tags[tag]}/ancestry")).json()
        found = {}
        for image_id in reversed(ancestry):
            engine.expect(self.ask("GET", f"/v1/images/{image_id}/json"))
            found[image_id] = engine.expect(self.ask("GET", f"/v1/images/{image_id}/layer")).body
        return found
