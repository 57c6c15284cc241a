"""Registries and proxies that do not support the whole specification."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backends.quirky import Answer, Asked, Quirky
from tests.backends.v2registry import V2Registry
from tests.needs import needs
from tests.nginx import Nginx
from tests.transfer.test_remote import MIB, Bytes, image, name, remote
from v1registry.lib.oci.convert import SCHEMA2, digest_of
from v1registry.transfer.errors import Rejected
from v1registry.transfer.remote import Remote


def arrives(go: V2Registry, there: Remote, size: int) -> None:
    """Push a blob of `size` random bytes, and read it back from the registry."""
    repository, blob, counts = name(), Bytes(secrets.token_bytes(size)), list[int]()
    there.upload(repository, blob, there.begin(repository), counts.append)
    assert sum(counts) == size
    assert go.get(f"/v2/{repository}/blobs/{blob.digest}").content == blob.data


def refusals(quirky: Quirky, method: str = "PATCH") -> int:
    return sum(asked.status >= 400 for asked in quirky.asked if asked.method == method)


# -- large requests ------------------------------------------------------------------------------


def larger(limit: int, status: int) -> Callable[[Asked], Answer | None]:
    def before(asked: Asked) -> Answer | None:
        large = len(asked.body) > limit and "content-range" in asked.headers
        return Answer(status) if large else None

    return before


@pytest.mark.parametrize("status", [413, 416])
@pytest.mark.parametrize(("limit", "refused"), [(4 * MIB, 1), (MIB, 2), (1000, 3)])
def test_chunks_that_are_too_large_are_sent_smaller(
    go: V2Registry, status: int, limit: int, refused: int
) -> None:
    """The smaller size is used for further blobs. If no size is accepted, one PUT sends the blob."""
    with Quirky(go.port) as quirky:
        quirky.before = larger(limit, status)
        there = remote(quirky.url, chunk=8 * MIB)
        arrives(go, there, 9 * MIB)
        assert refusals(quirky) == refused
        arrives(go, there, 9 * MIB)
        assert refusals(quirky) == refused


@needs("nginx")
def test_a_proxy_that_limits_bodies(go: V2Registry, tmp_path: Path) -> None:
    """nginx with its default limit of 1 MiB, which closes the connection."""
    changes = {"client_max_body_size 0;": "client_max_body_size 1m;"}
    with Nginx(tmp_path, [go.port], changes=changes) as nginx:
        arrives(go, remote(nginx.url), 9 * MIB)


def test_a_proxy_that_limits_bodies_too_much_is_named(go: V2Registry) -> None:
    with Quirky(go.port) as quirky:
        quirky.before = lambda asked: Answer(413) if len(asked.body) > 1000 else None
        with pytest.raises(Rejected, match="answered 413: a proxy limits the size"):
            arrives(go, remote(quirky.url), 3 * MIB)


@pytest.mark.parametrize("status", [405, 416, 501])
def test_a_registry_without_patch(go: V2Registry, status: int) -> None:
    with Quirky(go.port) as quirky:
        quirky.before = lambda asked: Answer(status) if asked.method == "PATCH" else None
        there = remote(quirky.url, chunk=MIB)
        for size in (3 * MIB, 1, 5 * MIB):
            arrives(go, there, size)
        assert refusals(quirky) == 1


def test_a_single_put_is_sent_again(go: V2Registry) -> None:
    with Quirky(go.port) as quirky:
        puts: list[Asked] = []

        def before(asked: Asked) -> Answer | None:
            if asked.method == "PUT":
                puts.append(asked)
            bad = asked.method == "PATCH" or (asked.method == "PUT" and len(puts) < 3)
            return Answer(501 if asked.method == "PATCH" else 503) if bad else None

        quirky.before = before
        arrives(go, remote(quirky.url), 3 * MIB)
        assert len(puts) == 3


def test_a_registry_that_reports_no_upload_status(go: V2Registry) -> None:
    """Then an upload that was interrupted or refused starts again."""
    with Quirky(go.port) as quirky:
        patches: list[Asked] = []

        def before(asked: Asked) -> Answer | None:
            if asked.method == "GET" and "/uploads/" in asked.path:
                return Answer(405)
            if asked.method == "PATCH":
                patches.append(asked)
                if len(patches) == 3:
                    return Answer(503)
            return larger(2 * MIB, 416)(asked)

        quirky.before = before
        arrives(go, remote(quirky.url, chunk=3 * MIB), 9 * MIB)


# -- mounts --------------------------------------------------------------------------------------


def no_location(asked: Asked, answer: Answer) -> Answer:
    if "mount=" not in asked.path:
        return answer
    return Answer(202, [one for one in answer.headers if one[0] != "Location"])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 415, 422, 429, 500, 501, 503])
def test_a_mount_that_is_refused_is_an_upload(go: V2Registry, status: int) -> None:
    with Quirky(go.port) as quirky:
        there, one, two, blob = remote(quirky.url), name(), name(), Bytes(secrets.token_bytes(99))
        there.upload(one, blob, there.begin(one), lambda count: None)
        quirky.before = lambda asked: Answer(status) if "mount=" in asked.path else None
        location = there.mount(two, blob.digest, one)
        assert location is not None
        there.upload(two, blob, location, lambda count: None)
        assert there.has_blob(two, blob.digest, 99)


def test_a_mount_that_names_no_upload_is_an_upload(go: V2Registry) -> None:
    with Quirky(go.port) as quirky:
        quirky.after = no_location
        location = remote(quirky.url).mount(name(), "sha256:" + "0" * 64, name())
        assert location is not None
        assert "mount=" not in location


# -- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST"])
def test_other_statuses_of_success(go: V2Registry, method: str, status: int) -> None:
    with Quirky(go.port) as quirky:
        quirky.after = lambda asked, answer: Answer(
            status if asked.method == method else answer.status, answer.headers, answer.body
        )
        there, repository = remote(quirky.url), name()
        data = image(there, repository)
        there.put_manifest(repository, "1.0", SCHEMA2, data)
        assert go.get(f"/v2/{repository}/manifests/1.0", SCHEMA2).content == data
        assert refusals(quirky, method) == 0
        heads = [asked for asked in quirky.asked if asked.method == "HEAD"]
        assert heads == []  # success is trusted, and the manifest is read back


def test_answers_without_a_digest(go: V2Registry) -> None:
    with Quirky(go.port) as quirky:

        def after(asked: Asked, answer: Answer) -> Answer:
            kept = [one for one in answer.headers if one[0] != "Docker-Content-Digest"]
            return Answer(answer.status, kept, answer.body)

        quirky.after = after
        there, repository = remote(quirky.url), name()
        data = image(there, repository)
        there.put_manifest(repository, "1.0", SCHEMA2, data)
        assert there.manifest_digest(repository, "1.0", SCHEMA2) == digest_of(data)
        assert there.manifest_digest(repository, "2.0", SCHEMA2) is None


def test_a_head_without_a_length(go: V2Registry) -> None:
    with Quirky(go.port) as quirky:
        there, repository, blob = remote(quirky.url), name(), Bytes(b"x" * 1000)
        there.upload(repository, blob, there.begin(repository), lambda count: None)
        quirky.after = lambda asked, answer: Answer(
            answer.status,
            [(n, "0" if n.lower() == "content-length" else v) for n, v in answer.headers],
        )
        assert there.has_blob(repository, blob.digest, 1000)
        assert not there.has_blob(repository, "sha256:" + "0" * 64, 1000)
