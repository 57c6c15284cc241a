"""Push a tiny image as an old Docker engine does, pull it, and compare: a first test of a registry.

usage: python3 scripts/push_pull.py [URL [REPOSITORY]]
       (http://localhost:5000, smoke/hello)

Needs only the standard library. Exit code 0: all answers and all bytes were correct.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

TIMEOUT = 60
CHUNK = 32 * 1024  # what engines send


class Wrong(Exception):
    """Raised for an answer that an engine would not accept."""


def layer() -> bytes:
    """Return a gzipped tar of one file."""
    content = b"hello from v1registry\n"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("hello.txt")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(out.getvalue(), mtime=0)


def pieces(data: bytes) -> Iterator[bytes]:
    """Yield the body; urllib sends an iterator chunked, as engines do."""
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


class Registry:
    """The requests of a push and a pull. Any status other than the expected one raises `Wrong`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        expect: int = 200,
    ) -> bytes:
        request = urllib.request.Request(
            self._url + path, data=body, method=method, headers=headers or {}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        if status != expect:
            raise Wrong(f"{method} {path}: {status} instead of {expect}: {content[:200]!r}")
        return bytes(content)

    def same(self, path: str, expected: bytes) -> None:
        if (found := self.call("GET", path)) != expected:
            raise Wrong(f"GET {path}: not the bytes that were pushed: {found[:200]!r}")


def push(registry: Registry, repository: str, image: str, document: bytes, data: bytes) -> None:
    """Send the requests of an engine's push, in its order."""
    checksum = "sha256:" + hashlib.sha256(document + b"\n" + data).hexdigest()
    listing = json.dumps([{"id": image, "Tag": "latest"}]).encode()
    here, typed = f"/v1/images/{image}", {"Content-Type": "application/json"}
    registry.call("PUT", f"/v1/repositories/{repository}/", listing, typed)
    registry.call("PUT", f"{here}/json", document, typed)
    registry.call("PUT", f"{here}/layer", pieces(data), {"Transfer-Encoding": "chunked"})
    registry.call("PUT", f"{here}/checksum", b"", {"X-Docker-Checksum-Payload": checksum})
    registry.call(
        "PUT", f"/v1/repositories/{repository}/tags/latest", json.dumps(image).encode(), typed
    )
    registry.call("PUT", f"/v1/repositories/{repository}/images", b"[]", typed, expect=204)


def pull(registry: Registry, repository: str, image: str, document: bytes, data: bytes) -> None:
    """Send the requests of an engine's pull, and compare each answer with what was pushed."""
    listed = json.loads(registry.call("GET", f"/v1/repositories/{repository}/images"))
    if image not in [entry["id"] for entry in listed]:
        raise Wrong(f"{image} is not in the image list of {repository}")
    registry.same(f"/v1/repositories/{repository}/tags/latest", json.dumps(image).encode())
    registry.same(f"/v1/images/{image}/ancestry", json.dumps([image]).encode())
    registry.same(f"/v1/images/{image}/json", document)
    registry.same(f"/v1/images/{image}/layer", data)


def main(url: str = "http://localhost:5000", repository: str = "smoke/hello") -> int:
    """Push and pull one new image; print any error."""
    registry, image, data = Registry(url), secrets.token_hex(32), layer()
    document = json.dumps({"id": image, "created": "2014-01-01T00:00:00Z", "os": "linux"}).encode()
    try:
        registry.call("GET", "/v1/_ping")
        push(registry, repository, image, document, data)
        pull(registry, repository, image, document, data)
    except (Wrong, OSError) as error:
        sys.stderr.write(f"{url}: {error}\n")
        return 1
    sys.stdout.write(f"pushed and pulled {repository}:latest, image {image[:12]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
