"""The pull side of the OCI distribution specification, and what Docker's registry does beyond it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import raw
from tests.live_server import Server
from tests.protocol.v2 import world
from tests.protocol.v2.world import FORMS, IMAGES, digest, error, get, manifest
from v1registry.lib.oci.convert import OCI, SCHEMA2

UNKNOWN = "sha256:" + "9" * 64
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("world") / "store"
    world.make(store)
    with Server(store) as running:
        yield running


# -- table tests: one row, one request ---------------------------------------

Check = Callable[[raw.Answer], bool]


@dataclass(frozen=True)
class Row:
    """A requirement, a request below /v2/, and the expected response."""

    what: str
    method: str
    path: str
    status: int
    code: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    check: Check = lambda answer: True

    def __str__(self) -> str:
        return self.what


def body_is(value: Any) -> Check:
    return lambda answer: answer.json() == value


def repositories(*names: str) -> Check:
    return body_is({"repositories": list(names)})


def no_referrers(answer: raw.Answer, filters: str | None) -> bool:
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    return (
        answer.header("Content-Type") == INDEX
        and answer.header("OCI-Filters-Applied") == filters
        and (answer.body == b"" or answer.json() == index)
    )


ALL = [
    "library/busybox",
    "libtest/d101",
    "libtest/d1126",
    "libtest/d150",
    "libtest/d183",
    "team/app",
    "team/deep/in/it",
    "team/other",
]
TAGS = ["1.0", "broken", "bzip2", "dangling", "odd", "packed"]

ROWS = [
    Row("end-1: the base tells the version", "GET", "", 200, check=body_is({})),
    Row("end-1 by HEAD", "HEAD", "", 200),
    Row("nothing else is at the top", "GET", "nothing", 404, "UNSUPPORTED"),
    Row("nothing is below a name", "GET", "team/app/else/there", 404, "UNSUPPORTED"),
    Row("nor at an action without its name", "GET", "manifests/latest", 404, "UNSUPPORTED"),
    # end-2: blobs
    Row("end-2: an unknown blob", "GET", f"team/app/blobs/{UNKNOWN}", 404, "BLOB_UNKNOWN"),
    Row("end-2: an unknown blob by HEAD", "HEAD", f"team/app/blobs/{UNKNOWN}", 404),
    Row("end-2: in an unknown repository", "GET", f"no/where/blobs/{UNKNOWN}", 404, "BLOB_UNKNOWN"),
    Row("end-2: no digest", "GET", "team/app/blobs/latest", 400, "DIGEST_INVALID"),
    Row("end-2: a digest cut short", "GET", "team/app/blobs/sha256:ab", 400, "DIGEST_INVALID"),
    Row("end-2: another algorithm", "GET", "team/app/blobs/sha512:" + "a" * 128, 400,
        "DIGEST_INVALID"),
    Row("end-2: a digest that climbs", "GET", "team/app/blobs/sha256:..%2F..%2F" + "a" * 50, 404,
        "UNSUPPORTED"),
    # end-3: manifests
    Row("end-3: an unknown tag", "GET", "team/app/manifests/no", 404, "MANIFEST_UNKNOWN"),
    Row("end-3: an unknown tag by HEAD", "HEAD", "team/app/manifests/no", 404),
    Row("end-3: an unknown digest", "GET", f"team/app/manifests/{UNKNOWN}", 404,
        "MANIFEST_UNKNOWN"),
    Row("end-3: an unknown repository", "GET", "no/where/manifests/latest", 404,
        "MANIFEST_UNKNOWN"),
    Row("end-3: a tag that none can be", "GET", "team/app/manifests/.INVALID", 404,
        "MANIFEST_UNKNOWN"),
    Row("end-3: no digest", "GET", "team/app/manifests/sha256:xyz", 400, "DIGEST_INVALID"),
    Row("end-3: a name that none can be", "GET", "Team/App/manifests/latest", 400, "NAME_INVALID"),
    Row("end-3: a name that climbs", "GET", "team/../app/manifests/latest", 400, "NAME_INVALID"),
    Row("end-3: a broken layer is no image", "GET", "team/app/manifests/broken", 404,
        "MANIFEST_UNKNOWN", check=lambda a: b"the layer cannot be read" in a.body),
    Row("end-3: what engines refuse is no image", "GET", "team/app/manifests/odd", 404,
        "MANIFEST_UNKNOWN", check=lambda a: b"created is not a time" in a.body),
    Row("end-3: a tag that points to nothing", "GET", "team/app/manifests/dangling", 404,
        "MANIFEST_UNKNOWN", check=lambda a: b"missing" in a.body),
    # end-8: tags
    Row("end-8a: tags in order", "GET", "team/app/tags/list", 200,
        check=body_is({"name": "team/app", "tags": TAGS})),
    Row("end-8a: by HEAD", "HEAD", "team/app/tags/list", 200),
    Row("end-8a: library/ may be left out", "GET", "busybox/tags/list", 200,
        check=body_is({"name": "busybox", "tags": ["latest"]})),
    Row("end-8a: and may be there", "GET", "library/busybox/tags/list", 200,
        check=body_is({"name": "library/busybox", "tags": ["latest"]})),
    Row("end-8a: a name of four parts", "GET", "team/deep/in/it/tags/list", 200,
        check=body_is({"name": "team/deep/in/it", "tags": ["latest"]})),
    Row("end-8a: an unknown repository", "GET", "no/where/tags/list", 404, "NAME_UNKNOWN"),
    Row("end-8b: n", "GET", "team/app/tags/list?n=2", 200,
        check=lambda a: a.json()["tags"] == TAGS[:2] and
        a.header("Link") == '</v2/team/app/tags/list?last=broken&n=2>; rel="next"'),
    Row("end-8b: n and last", "GET", "team/app/tags/list?n=2&last=broken", 200,
        check=lambda a: a.json()["tags"] == TAGS[2:4] and a.header("Link") is not None),
    Row("end-8b: the last page has no link", "GET", "team/app/tags/list?n=2&last=dangling", 200,
        check=lambda a: a.json()["tags"] == TAGS[4:] and a.header("Link") is None),
    Row("end-8b: last need not be there", "GET", "team/app/tags/list?last=c", 200,
        check=lambda a: a.json()["tags"] == TAGS[3:]),
    Row("end-8b: n=0 is an empty list", "GET", "team/app/tags/list?n=0", 200,
        check=lambda a: a.json()["tags"] == [] and a.header("Link") is None),
    Row("end-8b: more than there are", "GET", "team/app/tags/list?n=999999999", 200,
        check=lambda a: a.json()["tags"] == TAGS and a.header("Link") is None),
    Row("n that is no number", "GET", "team/app/tags/list?n=two", 400,
        "PAGINATION_NUMBER_INVALID"),
    Row("n below nothing", "GET", "_catalog?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
    Row("n without end", "GET", "_catalog?n=" + "9" * 3000, 200, check=repositories(*ALL)),
    # end-12: referrers
    *(Row(f"end-12a: {kind}: no signatures, for a known repository", method,
          f"team/app/referrers/{digest}", 200, check=lambda a: no_referrers(a, None))
      for kind, method, digest in [
          ("unknown digest", "GET", UNKNOWN), ("by HEAD", "HEAD", UNKNOWN),
          ("SHA-512", "GET", f"sha512:{'a' * 128}")]),
    Row("end-12b: filtered", "GET", f"team/app/referrers/{UNKNOWN}?artifactType=a/b", 200,
        check=lambda a: no_referrers(a, "artifactType")),
    Row("end-12a: an unknown repository", "GET", f"no/where/referrers/{UNKNOWN}", 404,
        "NAME_UNKNOWN"),
    Row("end-12a: no digest", "GET", "team/app/referrers/latest", 400, "DIGEST_INVALID"),
    Row("end-12a: half a digest", "GET", "team/app/referrers/sha256:ab", 400, "DIGEST_INVALID"),
    Row("end-12a: a name that none can be", "GET", f"Team/App/referrers/{UNKNOWN}", 400,
        "NAME_INVALID"),
    # the catalog
    Row("the catalog: all public names that v2 clients can say", "GET", "_catalog", 200,
        check=repositories(*ALL)),
    Row("the catalog, a page", "GET", "_catalog?n=3", 200, check=lambda a:
        a.json()["repositories"] == ALL[:3] and
        a.header("Link") == '</v2/_catalog?last=libtest%2Fd1126&n=3>; rel="next"'),
    Row("the catalog, from the middle", "GET", "_catalog?n=100&last=libtest/d150", 200,
        check=lambda a: a.json()["repositories"] == ALL[4:] and a.header("Link") is None),
    Row("the catalog, behind all", "GET", "_catalog?last=zzz", 200, check=repositories()),
    # pushes
    Row("no upload begins", "POST", "team/app/blobs/uploads/", 405, "UNSUPPORTED"),
    Row("nor with a mount", "POST", f"team/app/blobs/uploads/?mount={UNKNOWN}&from=a/b", 405,
        "UNSUPPORTED"),
    Row("no manifest is taken", "PUT", "team/app/manifests/1.0", 405, "UNSUPPORTED"),
    Row("nothing is deleted", "DELETE", "team/app/manifests/1.0", 405, "UNSUPPORTED"),
    Row("nor patched", "PATCH", "team/app/blobs/uploads/x", 405, "UNSUPPORTED"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_requirements(server: Server, row: Row) -> None:
    answer = get(server, row.path, row.method, **dict(row.headers))
    assert answer.header("Docker-Distribution-Api-Version") == "registry/2.0"
    assert answer.status == row.status, str(answer)
    assert row.check(answer), str(answer)
    if row.code:
        error(answer, row.status, row.code)
    if row.status == 405:
        assert answer.header("Allow") == "GET, HEAD"


# -- manifests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("golden", IMAGES, ids=lambda image: image["repository"])
def test_golden_images_have_the_ids_that_engines_gave_them(
    server: Server, golden: dict[str, str], form: str
) -> None:
    document = manifest(server, golden["repository"], "latest", FORMS[form])
    assert document["config"]["digest"] == golden["image_id"]
    config = get(server, f"{golden['repository']}/blobs/{golden['image_id']}").body
    name = golden["repository"].rpartition("/")[2]
    assert config == (world.GOLDEN / f"{name}.config.json").read_bytes()
    diff_ids = json.loads(config)["rootfs"]["diff_ids"]
    for layer, diff_id in zip(document["layers"], diff_ids, strict=True):
        answer = get(server, f"{golden['repository']}/blobs/{layer['digest']}")
        assert digest(answer.body) == layer["digest"]
        assert len(answer.body) == layer["size"]
        assert digest(gzip.decompress(answer.body)) == diff_id


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, SCHEMA2),
        ("*/*", SCHEMA2),
        ("application/*", SCHEMA2),
        ("application/json", SCHEMA2),
        (SCHEMA2, SCHEMA2),
        (OCI, OCI),
        (f"{OCI}, {SCHEMA2}", SCHEMA2),
        (f"{SCHEMA2}, {OCI}", SCHEMA2),
        (f"{SCHEMA2};q=0.5, {OCI}", OCI),
        (f"{SCHEMA2};q=0, {OCI};q=0.1", OCI),
        (f"{OCI};q=0.5, */*;q=0.1", OCI),
        (f"{LIST}, {INDEX}, {OCI}, {SCHEMA1}", OCI),
        (f"{SCHEMA1}, {SCHEMA2}", SCHEMA2),
        (LIST, SCHEMA2),
    ],
)
def test_the_form_that_the_client_prefers(server: Server, accept: str | None, wanted: str) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = get(server, "team/app/manifests/1.0", **headers)
    assert answer.header("Content-Type") == wanted
    assert answer.json()["mediaType"] == wanted
    assert answer.header("Vary") == "Accept"


@pytest.mark.parametrize(
    "accept", [SCHEMA1, "application/vnd.docker.distribution.manifest.v1+json"]
)
def test_schema_1_is_never_served(server: Server, accept: str) -> None:
    text = error(get(server, "team/app/manifests/1.0", Accept=accept), 404, "MANIFEST_UNKNOWN")
    assert "schema 1" in text


def test_several_accept_headers_are_one(server: Server) -> None:
    headers = [*world.AGENT.items(), ("Accept", SCHEMA1), ("Accept", OCI)]
    answer = raw.get(server, "/v2/team/app/manifests/1.0", headers)
    assert answer.header("Content-Type") == OCI


@pytest.mark.parametrize("form", FORMS)
def test_a_manifest_by_digest_has_its_own_form(server: Server, form: str) -> None:
    """The `Accept` header has no effect."""
    tagged = get(server, "team/app/manifests/1.0", Accept=FORMS[form])
    name = tagged.header("Docker-Content-Digest")
    for accept in (SCHEMA2, OCI, SCHEMA1):
        answer = get(server, f"team/app/manifests/{name}", Accept=accept)
        assert answer.body == tagged.body
        assert answer.header("Content-Type") == FORMS[form]
        assert answer.header("Cache-Control") == "public, max-age=31536000"
        assert answer.header("Vary") is None
    assert tagged.header("Cache-Control") == "public, no-cache"
    error(get(server, f"team/other/manifests/{name}"), 404, "MANIFEST_UNKNOWN")
    error(get(server, f"team/app/blobs/{name}"), 404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("reference", ["1.0", "digest"])
def test_head_and_etag_of_manifests(server: Server, reference: str) -> None:
    full = get(server, "team/app/manifests/1.0")
    name = str(full.header("Docker-Content-Digest"))
    path = f"team/app/manifests/{name if reference == 'digest' else reference}"
    head = get(server, path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.header("Content-Length") == str(len(full.body))
    assert head.header("Content-Type") == full.header("Content-Type")
    assert head.header("Docker-Content-Digest") == name
    assert head.header("ETag") == f'"{name}"'
    for known in (f'"{name}"', f'W/"{name}", "x"', "*"):
        again = get(server, path, If_None_Match=known)
        assert (again.status, again.body) == (304, b"")
        assert again.header("ETag") == f'"{name}"'
    assert get(server, path, If_None_Match='"another"').status == 200


# -- blobs -------------------------------------------------------------------------------------

BLOBS = {
    "plain": ("1.0", 0, world.PLAIN),
    "gzip": ("1.0", 1, world.SQUEEZED),
    "xz": ("packed", 2, world.PACKED),
    "bzip2": ("bzip2", 0, world.PACKED),
}


def blob(server: Server, kind: str) -> tuple[str, bytes]:
    """Return the path of a blob, and its bytes."""
    if kind == "config":
        config = manifest(server, "team/app", "1.0")["config"]
        path = f"team/app/blobs/{config['digest']}"
        return path, get(server, path).body
    tag, number, content = BLOBS[kind]
    layer = manifest(server, "team/app", tag)["layers"][number]
    assert layer["digest"] == digest(content)
    assert layer["size"] == len(content)
    return f"team/app/blobs/{layer['digest']}", content


@pytest.mark.parametrize("kind", [*BLOBS, "config"])
def test_blobs(server: Server, kind: str) -> None:
    path, content = blob(server, kind)
    name = path.rpartition("/")[2]
    for method in ("GET", "HEAD"):
        answer = get(server, path, method)
        assert answer.status == 200
        assert answer.body == (content if method == "GET" else b"")
        assert answer.header("Content-Length") == str(len(content))
        assert answer.header("Content-Type") == "application/octet-stream"
        assert answer.header("Docker-Content-Digest") == name
        assert answer.header("ETag") == f'"{name}"'
        assert answer.header("Accept-Ranges") == "bytes"
        assert answer.header("Cache-Control") == "public, max-age=31536000"
        assert answer.header("X-Content-Type-Options") == "nosniff"
    known = get(server, path, If_None_Match=f'"{name}"')
    assert (known.status, known.body) == (304, b"")


@pytest.mark.parametrize("kind", [*BLOBS, "config"])
def test_ranges(server: Server, kind: str) -> None:
    path, content = blob(server, kind)
    size = len(content)
    for wanted, start, stop in [
        ("0-0", 0, 1),
        ("5-9", 5, 10),
        ("20-", 20, size),
        (f"{size - 1}-{size + 5}", size - 1, size),
        ("-7", size - 7, size),
        (f"-{size * 2}", 0, size),
    ]:
        answer = get(server, path, Range=f"bytes={wanted}")
        assert answer.status == 206, str(answer)
        assert answer.body == content[start:stop]
        assert answer.header("Content-Range") == f"bytes {start}-{stop - 1}/{size}"
        head = get(server, path, "HEAD", Range=f"bytes={wanted}")
        assert head.header("Content-Length") == str(stop - start)
    for wanted in (f"{size}-", f"{size + 7}-{size + 9}", "-0"):
        answer = get(server, path, Range=f"bytes={wanted}")
        error(answer, 416, "RANGE_INVALID")
        assert answer.header("Content-Range") == f"bytes */{size}"
    for ignored in ("bytes=9-5", "bytes=0-1,5-6", "lines=1-2"):
        assert get(server, path, Range=ignored).body == content


def test_a_range_of_something_else_is_not_sent(server: Server) -> None:
    path, content = blob(server, "gzip")
    name = path.rpartition("/")[2]
    same = get(server, path, Range="bytes=0-3", If_Range=f'"{name}"')
    assert (same.status, same.body) == (206, content[:4])
    for other in ('"sha256:x"', "Thu, 01 Jan 1970 00:00:00 GMT", f'W/"{name}"'):
        answer = get(server, path, Range="bytes=0-3", If_Range=other)
        assert (answer.status, answer.body) == (200, content)


def test_a_blob_only_under_a_repository_that_reaches_it(server: Server) -> None:
    secret = manifest(server, "team/other", "latest")
    for name in (secret["config"]["digest"], secret["layers"][0]["digest"]):
        assert get(server, f"team/other/blobs/{name}").status == 200
        error(get(server, f"team/app/blobs/{name}"), 404, "BLOB_UNKNOWN")
        error(get(server, f"busybox/blobs/{name}"), 404, "BLOB_UNKNOWN")


def test_a_layer_shared_by_two_repositories(server: Server) -> None:
    path, content = blob(server, "plain")
    name = path.rpartition("/")[2]
    for repository in ("team/app", "busybox", "library/busybox", "team/deep/in/it"):
        assert get(server, f"{repository}/blobs/{name}").body == content


def test_a_layer_that_became_broken_is_not_served_as_good(server: Server, store: Path) -> None:
    """The blob of a broken image has no digest. The error for its manifest gives the reason."""
    text = error(get(server, "team/app/manifests/broken"), 404, "MANIFEST_UNKNOWN")
    assert world.BROKEN in text
    assert f"Image {world.BROKEN}: the layer cannot be read" in server.log
    error(get(server, f"team/app/blobs/{digest(world.SQUEEZED[:-5])}"), 404, "BLOB_UNKNOWN")


def test_pages_without_end_are_bounded(server: Server) -> None:
    """A page has at most a thousand names, and a link to the next page."""
    for number in range(1500):
        world.tag(server.store, "many/all", f"t{number:04}", world.BASE)
    found: list[str] = []
    path = "many/all/tags/list?n=100000"
    while path:
        answer = get(server, path)
        assert len(answer.json()["tags"]) <= 1000
        found += answer.json()["tags"]
        link = answer.header("Link")
        path = link.partition("</v2/")[2].partition(">")[0] if link else ""
    assert found == [f"t{number:04}" for number in range(1500)]
