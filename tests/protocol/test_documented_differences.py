"""docs/differences.md: each row of its table is true, and none is missing here."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import raw
from tests.index.conftest import PASSWORD, here, open_database
from tests.live_server import ROOT, Server
from tests.protocol import engine
from tests.protocol.engine import image, quoted
from tests.protocol.tarsum import tarsum
from tests.rights.accounts import basic, environment, password_file
from v1registry.index.accounts import AccountStore

BASE, CHILD, OPEN, OLD = image("base"), image("child"), image("open"), image("old")
REPOSITORY = "/v1/repositories/team/app"
SIMPLE = "X-Docker-Checksum-Payload"


@dataclass
class World:
    """A registry without accounts, one with them, one that is read-only, and one with an index."""

    plain: Server
    accounts: Server
    read_only: Server
    index: Server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("differences")
    url = f"sqlite:///{folder}/index.db"
    database = open_database(url)
    AccountStore(database, here).add("team", PASSWORD)
    database.close()
    rules = [
        {"who": "ann", "repositories": "team/*", "allow": ["pull", "push"]},
        {"who": "bob", "repositories": "bob/*", "allow": "pull"},
    ]
    accounts = environment(password_file(folder, ["ann", "bob"]), rules)
    with (
        Server(folder / "plain", env={"SEARCH_BACKEND": "", "DEBUG": "true"}) as plain,
        Server(folder / "plain", env={"READ_ONLY": "true"}) as read_only,
        Server(folder / "accounts", env=accounts) as guarded,
        Server(folder / "index", env={"INDEX_DATABASE": url}) as index,
    ):
        engine.push(plain, "team/app", [BASE], ["latest"])
        engine.expect(raw.put(plain, OPEN.path("json"), OPEN.json))
        engine.expect(raw.put(plain, OLD.path("json"), OLD.json))
        engine.expect(raw.put(plain, OLD.path("layer"), OLD.layer))
        (plain.store / "repositories/team/app/tag_empty").touch()
        yield World(plain, guarded, read_only, index)


def asked(
    server: Server, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, object]:
    """Status and JSON of an answer; None for an empty body, the text of an error for an error."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = raw.request(server, method, path, named, body)
    if not answer.body or "json" not in (answer.header("Content-Type") or ""):
        return answer.status, None
    value = answer.json()
    return answer.status, value["error"] if isinstance(value, dict) and "error" in value else value


def check_tag_of_an_open_image(w: World) -> None:
    found = asked(w.plain, "PUT", f"{REPOSITORY}/tags/open", quoted(OPEN.id))
    assert found == (400, "Image is being uploaded, retry later")


def check_tag_name(w: World) -> None:
    status, text = asked(w.plain, "PUT", f"{REPOSITORY}/tags/a%20b", quoted(BASE.id))
    assert status == 400
    assert str(text).startswith("Invalid tag name")


def check_unknown_old_names(w: World) -> None:
    for method, rest in [("GET", "tags"), ("GET", "images"), ("DELETE", ""), ("DELETE", "tags")]:
        found = asked(w.plain, method, f"/v1/repositories/Team/App/{rest}")
        assert found == (400, "Invalid repository name")


def check_checksum_before_the_layer(w: World) -> None:
    assert asked(w.plain, "PUT", OPEN.path("checksum"), b"", **{SIMPLE: OPEN.checksum})[0] == 400


def check_tarsum(w: World) -> None:
    right = tarsum(OLD.json, gzip.decompress(OLD.layer))
    wrong = "tarsum+sha256:" + "0" * 64
    assert asked(w.plain, "PUT", OLD.path("checksum"), b"", X_Docker_Checksum=wrong)[0] == 400
    assert asked(w.plain, "PUT", OLD.path("checksum"), b"", X_Docker_Checksum=right)[0] == 200


def check_ranges(w: World) -> None:
    size = len(BASE.layer)
    answer = raw.get(w.plain, BASE.path("layer"), {"Range": "bytes=5-"})
    assert (answer.status, answer.body) == (206, BASE.layer[5:])
    assert answer.header("Content-Range") == f"bytes 5-{size - 1}/{size}"
    answer = raw.get(w.plain, BASE.path("layer"), {"Range": f"bytes={size}-"})
    assert (answer.status, answer.body) == (416, b"")


def check_diff(w: World) -> None:
    status, diff = asked(w.plain, "GET", BASE.path("diff"))
    assert status == 200
    assert isinstance(diff, dict)
    assert sorted(diff) == ["changed", "created", "deleted"]


def check_deletion(w: World) -> None:
    engine.push(w.plain, "team/gone", [BASE], ["latest"])
    assert asked(w.plain, "DELETE", "/v1/repositories/team/gone") == (200, True)


def check_search(w: World) -> None:
    status, found = asked(w.plain, "GET", "/v1/search?q=app")
    assert status == 200
    assert isinstance(found, dict)
    assert found["results"] == []
    assert "the search is off" in w.plain.log


def check_pages(w: World) -> None:
    _, found = asked(w.index, "GET", "/v1/search?q=&n=1&page=1")
    assert isinstance(found, dict)
    assert (found["page"], found["page_size"]) == (1, 1)
    assert "num_pages" in found


def check_read_only(w: World) -> None:
    for method, body in (("PUT", b"[]"), ("DELETE", None)):
        found = asked(w.read_only, method, f"{REPOSITORY}/", body)
        assert found == (503, "The registry is read-only at the moment")


def check_hidden(w: World) -> None:
    for name in ("team/app", "no/where"):
        found = asked(w.accounts, "GET", f"/v1/repositories/{name}/tags", **basic("bob"))
        assert found == (404, "Repository not found")


def check_hidden_image(w: World) -> None:
    found = asked(w.accounts, "GET", CHILD.path("json"), **basic("bob"))
    assert found == (404, "Image not found")


def check_sign_up(w: World) -> None:
    account = json.dumps({"username": "new", "password": "secret", "email": "a@b.example"})
    text = "Username or email already exists"
    assert asked(w.accounts, "POST", "/v1/users/", account.encode()) == (400, text)
    assert asked(w.plain, "POST", "/v1/users/", account.encode()) == (201, "User Created")


def check_anonymous_token(w: World) -> None:
    body = json.dumps([{"id": BASE.id}]).encode()
    assert asked(w.index, "PUT", f"{REPOSITORY}/", body, **basic("team", PASSWORD))[0] == 200
    answer = raw.get(w.index, f"{REPOSITORY}/images", {"X-Docker-Token": "true"})
    assert answer.status == 200
    assert "access=read" in (answer.header("X-Docker-Token") or "")


def check_token_without_access(w: World) -> None:
    for access in ("", ",access=all"):
        token = f'Token signature=A,repository="team/app"{access}'
        assert asked(w.index, "GET", f"{REPOSITORY}/images", Authorization=token)[0] == 401


def check_v2(w: World) -> None:
    answer = raw.get(w.plain, "/v2/", {"User-Agent": "docker/1.12.6"})
    assert answer.status == 404
    assert (answer.header("Content-Type") or "").startswith("text/plain")
    assert raw.get(w.plain, "/v2/", {"User-Agent": "skopeo/1.9"}).json() == {}


def check_signed(w: World) -> None:
    assert asked(w.plain, "GET", f"/v1/private_images/{BASE.id}/json")[0] == 404
    assert asked(w.accounts, "GET", f"{REPOSITORY}/tags", X_Signature="data=aaaa")[0] == 401


#: a piece of the first cell of each row, and what shows that its last cell is true
CHECKS: dict[str, Callable[[World], None]] = {
    "an image id that is not": lambda w: is_(
        asked(w.plain, "PUT", f"{REPOSITORY}/", b'[{"id": "one"}]'), (400, "Invalid data")
    ),
    "a name outside `[a-z0-9._-]` and": lambda w: is_(
        asked(w.plain, "PUT", "/v1/repositories/Team/App/", b"[]"), (400, "Invalid repository name")
    ),
    "with such a name that the store does not have": check_unknown_old_names,
    "images` without a body": lambda w: is_(
        asked(w.plain, "PUT", f"{REPOSITORY}/images"), (400, "Error Decoding JSON")
    ),
    "a name outside `[A-Za-z0-9_]": check_tag_name,
    "for an image that is not complete": check_tag_of_an_open_image,
    "properties` without `access`": lambda w: is_(
        asked(w.plain, "PUT", f"{REPOSITORY}/properties", b"{}"), (400, "Invalid data")
    ),
    "layer` for a complete image": lambda w: is_(
        asked(w.plain, "PUT", BASE.path("layer"), BASE.layer), (200, True)
    ),
    "checksum` again": lambda w: is_(
        asked(w.plain, "PUT", BASE.path("checksum"), b"", **{SIMPLE: BASE.checksum}), (200, True)
    ),
    "checksum` before the layer": check_checksum_before_the_layer,
    "`X-Docker-Checksum` alone": check_tarsum,
    "with `Range`": check_ranges,
    "with `If-Modified-Since`": lambda w: is_(
        asked(w.plain, "GET", f"/v1/images/{'f' * 64}/json", If_Modified_Since="now"),
        (404, "Image not found"),
    ),
    "/diff`": check_diff,
    "a tag whose file is empty": lambda w: is_(
        asked(w.plain, "GET", f"{REPOSITORY}/tags"), (200, {"latest": BASE.id})
    ),
    "without a final slash": check_deletion,
    "without a search backend": check_search,
    "with `n` or `page`": check_pages,
    "`read_only`": check_read_only,
    "`GET /v1/repositories/N/R/tags` with an account": check_hidden,
    "`GET /v1/images/ID/json` with an account": check_hidden_image,
    "`POST /v1/users/`": check_sign_up,
    "`PUT /v1/users/NAME/`": lambda w: is_(
        asked(w.accounts, "PUT", "/v1/users/ann/", b"{}", **basic("ann"))[0], 403
    ),
    "of a public repository without credentials": check_anonymous_token,
    "A token without `access`": check_token_without_access,
    "`GET /v2/` by an engine": check_v2,
    "prefers `text/html` to JSON": lambda w: is_(
        [asked(w.plain, "GET", "/", Accept=kind) for kind in ("text/html", "*/*")],
        [(302, None), (200, '"docker-registry server"')],
    ),
    "with `debug`": lambda w: is_(asked(w.plain, "GET", "/v1/_ping"), (200, {})),
    "`X-Signature`": check_signed,
}


def is_(found: object, expected: object) -> None:
    assert found == expected


def rows(page: Path = ROOT / "docs/differences.md") -> list[str]:
    """The first cells of the table."""
    found = re.findall(r"^\| (.*?) \| .* \| .* \|$", page.read_text(), re.MULTILINE)
    return found[1:]  # without the head


def test_every_row_has_one_check() -> None:
    for row in rows():
        assert len([piece for piece in CHECKS if piece in row]) == 1, row
    assert len(rows()) == len(CHECKS)


@pytest.mark.parametrize("piece", CHECKS)
def test_a_row_is_true(world: World, piece: str) -> None:
    CHECKS[piece](world)
