"""Client for the v2 registry that images are pushed to (OCI distribution specification, "Push").

Repository names are those of the target (`team/app`).
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlencode

from v1registry.lib.oci.convert import digest_of
from v1registry.transfer.errors import Gone, Rejected, Unreachable
from v1registry.transfer.http import Http
from v1registry.transfer.upload import (
    CHUNK,
    TAKEN,
    TYPE,
    Uploads,
    location_of,
    scopes_of,
    with_digest,
)


class Remote:
    """Blobs and manifests of the registry behind `http`."""

    def __init__(self, http: Http, *, chunk: int = CHUNK) -> None:
        self._http = http
        self._uploads = Uploads(http, chunk, self.has_blob)
        self.begin = self._uploads.begin
        self.upload = self._uploads.upload

    def check(self) -> None:
        """Raise Rejected or Unreachable unless a v2 registry answers."""
        response = self._http.send("GET", "/v2/", good=(200, 404), tries=2)
        if response.status_code == 404:
            raise Rejected(f"{self._http.url} is not a v2 registry: /v2/ answers 404", 404)

    def still_there(self) -> None:
        """Raise Gone if the registry has stopped answering."""
        self._http.still_there()

    def notify_with(self, notify: Callable[[str], None]) -> None:
        """Call `notify` with a message for each retry and delay."""
        self._http.notify = notify

    def has_blob(self, repository: str, digest: str, size: int) -> bool:
        """Return whether the repository has the complete blob."""
        path = f"/v2/{repository}/blobs/{digest}"
        response = self._http.send("HEAD", path, scopes=scopes_of(repository), good=(200, 404))
        length = response.headers.get(
            "Content-Length", "0"
        )  # some registries answer 0 to every HEAD
        return response.status_code == 200 and length in ("0", str(size))

    def mount(self, repository: str, digest: str, other: str) -> str | None:
        """Mount the blob from another repository of the registry, and return None.

        If the registry begins an upload instead, return its location.
        """
        query = urlencode({"mount": digest, "from": other})
        path = f"/v2/{repository}/blobs/uploads/?{query}"
        scopes = (*scopes_of(repository), f"repository:{other}:pull")
        try:
            response = self._http.send(
                "POST", path, scopes=scopes, good=(201, 202), body=b"", tries=2
            )
            return None if response.status_code == 201 else location_of(response)
        except Gone:
            raise
        except (Rejected, Unreachable):  # mounting only saves an upload
            return self.begin(repository)

    def put_blob(self, repository: str, data: bytes, digest: str) -> None:
        """Send a small blob in one request."""
        path = with_digest(self.begin(repository), digest)
        headers = {"Content-Type": TYPE}
        try:
            self._http.send(
                "PUT", path, scopes=scopes_of(repository), good=TAKEN, headers=headers, body=data
            )
        except Rejected:
            if not self.has_blob(repository, digest, len(data)):
                raise

    def manifest_digest(self, repository: str, reference: str, media_type: str) -> str | None:
        """Return the digest of the manifest of a tag or digest; None if there is none."""
        response = self._http.send(
            "HEAD",
            _manifest_path(repository, reference),
            scopes=scopes_of(repository),
            good=(200, 404),
            headers={"Accept": media_type},
        )
        if response.status_code == 404:
            return None
        digest = response.headers.get("Docker-Content-Digest")
        return digest or digest_of(self.get_manifest(repository, reference, media_type))

    def get_manifest(self, repository: str, reference: str, media_type: str) -> bytes:
        """Return the bytes of a manifest."""
        response = self._http.send(
            "GET",
            _manifest_path(repository, reference),
            scopes=scopes_of(repository),
            headers={"Accept": media_type},
        )
        return response.content

    def put_manifest(self, repository: str, reference: str, media_type: str, data: bytes) -> None:
        """Put a manifest under a tag or a digest."""
        self._http.send(
            "PUT",
            _manifest_path(repository, reference),
            scopes=scopes_of(repository),
            good=TAKEN,
            headers={"Content-Type": media_type},
            body=data,
        )


def _manifest_path(repository: str, reference: str) -> str:
    return f"/v2/{repository}/manifests/{quote(reference, safe=':')}"
