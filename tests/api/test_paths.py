"""Paths below /v1/repositories/, resolved from the right (protocol-v1.md section 1)."""

from __future__ import annotations

import pytest

from v1registry.api.paths import parse
from v1registry.lib.errors import Failure

ID = "a" * 64


@pytest.mark.parametrize(
    ("path", "action", "repository", "tag"),
    [
        ("foo", "repository", "library/foo", None),
        ("foo/", "repository", "library/foo", None),
        ("ns/foo/", "repository", "ns/foo", None),
        ("foo/images", "images", "library/foo", None),
        ("ns/foo/images", "images", "ns/foo", None),
        ("ns/a/b/images/", "images", "ns/a/b", None),
        ("ns/foo/auth", "auth", "ns/foo", None),
        ("foo/tags", "tags", "library/foo", None),
        ("ns/foo/tags/", "tags", "ns/foo", None),
        ("foo/tags/latest", "tag", "library/foo", "latest"),
        ("ns/foo/tags/latest", "tag", "ns/foo", "latest"),
        ("ns/a/b/tags/v1", "tag", "ns/a/b", "v1"),
        ("ns/foo/tags/latest/json", "tag_json", "ns/foo", "latest"),
        ("foo/tags/v1/json", "tag_json", "library/foo", "v1"),
        ("foo/tags/json", "tag", "library/foo", "json"),
        ("foo/tags/json/json", "tag_json", "library/foo", "json"),
        ("foo/tags/tags", "tag", "library/foo", "tags"),
        ("foo/tags/images", "tag", "library/foo", "images"),
        ("ns/foo/json", "json", "ns/foo", None),
        ("foo/json", "json", "library/foo", None),
        ("ns/foo/properties", "properties", "ns/foo", None),
        (f"foo/layer/{ID}/access", "access", "library/foo", ID),
        (f"ns/foo/layer/{ID}/access/", "access", "ns/foo", ID),
        ("ns/foo/layer/x/access", "repository", "ns/foo/layer/x/access", None),
    ],
)
def test_parse(path: str, action: str, repository: str, tag: str | None) -> None:
    target = parse(path)
    assert (target.action, str(target.repository), target.tag) == (action, repository, tag)


@pytest.mark.parametrize("path", ["images", "tags/", "a/b/../images", "../images", "//images", "/"])
def test_no_repository(path: str) -> None:
    with pytest.raises(Failure) as caught:
        parse(path)
    assert caught.value.status == 400
