"""Logins over v2: challenges, tokens and their access, also with real clients."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import bcrypt
import pytest

from tests import raw
from tests.live_server import Server
from tests.needs import needs, tool
from tests.protocol.v2 import world
from tests.protocol.v2.world import error, get
from tests.rights.accounts import PASSWORD, basic, environment, password_file
from tests.rights.fakeindex import FakeIndex, Handler
from v1registry.auth.accounts import AccountRights
from v1registry.auth.htpasswd import PasswordFile
from v1registry.auth.rules import Rules
from v1registry.lib.auth.bearer import Bearer
from v1registry.lib.auth.rights import Caller
from v1registry.lib.support.throttle import Throttle
from v1registry.storage.local.driver import FileStorage

RULES = [
    {"who": "anybody", "repositories": "team/app", "allow": "pull"},
    {"who": "alice", "repositories": ["team/*", "libtest/*"], "allow": ["pull", "push"]},
    {"who": "users", "repositories": "library/*", "allow": "pull"},
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("login")
    world.make(folder / "store")
    password_file(folder, ["alice", "bob"])
    return folder


@pytest.fixture(scope="module")
def server(files: Path) -> Iterator[Server]:
    env = environment(files / "htpasswd", RULES)
    with Server(files / "store", workers=2, env=env) as running:
        yield running


def token(
    server: Server, user: str | None = None, scope: str = "", life: int = 300, **headers: str
) -> str:
    query = urlencode({"service": server.host, **({"scope": scope} if scope else {})})
    answer = get(server, f"_token?{query}", **(headers or basic(user)))
    assert answer.status == 200, str(answer)
    assert answer.header("Cache-Control") == "no-store"
    value = answer.json()
    assert value["token"] == value["access_token"]
    assert value["expires_in"] == life
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value["issued_at"])
    return str(value["token"])


def bearer(server: Server, user: str | None = None, scope: str = "") -> dict[str, str]:
    return {"Authorization": f"Bearer {token(server, user, scope)}"}


def challenge(answer: raw.Answer) -> dict[str, str]:
    error(answer, 401, "UNAUTHORIZED")
    text = str(answer.header("WWW-Authenticate"))
    assert text.startswith("Bearer "), text
    return dict(re.findall(r'(\w+)="([^"]*)"', text))


def test_the_base_tells_where_tokens_are(server: Server) -> None:
    for method in ("GET", "HEAD"):
        answer = get(server, "", method)
        assert answer.status == 401
        assert answer.header("Docker-Distribution-Api-Version") == "registry/2.0"
    assert challenge(get(server, "")) == {
        "realm": f"http://{server.host}/v2/_token",
        "service": server.host,
    }
    for headers in (basic("alice"), bearer(server), bearer(server, "bob")):
        assert get(server, "", **headers).status == 200


def test_v1_clients_are_told_nothing(server: Server) -> None:
    for path in ("/v2/", "/v2/_token", "/v2/team/app/manifests/1.0"):
        answer = raw.get(server, path, {"User-Agent": "docker/1.12.6", **basic("alice")})
        assert (answer.status, answer.header("WWW-Authenticate")) == (404, None)


@pytest.mark.parametrize(
    ("user", "repository", "tag", "status"),
    [
        (None, "team/app", "1.0", 200),
        (None, "team/other", "latest", 401),
        (None, "busybox", "latest", 401),
        (None, "no/where", "latest", 401),
        ("alice", "team/app", "1.0", 200),
        ("alice", "team/other", "latest", 200),
        ("alice", "team/private", "latest", 200),
        ("alice", "busybox", "latest", 200),
        ("bob", "team/app", "1.0", 200),
        ("bob", "busybox", "latest", 200),
        ("bob", "team/other", "latest", 403),
        ("bob", "no/where", "latest", 403),
    ],
)
@pytest.mark.parametrize("way", ["basic", "bearer"])
def test_pull_rights(
    server: Server, user: str | None, repository: str, tag: str, status: int, way: str
) -> None:
    headers = basic(user) if way == "basic" else bearer(server, user)
    for path in (f"manifests/{tag}", "tags/list", "blobs/sha256:" + "0" * 64):
        answer = get(server, f"{repository}/{path}", **headers)
        if status == 401:
            assert challenge(answer)["scope"].endswith(f"{repository}:pull")
        elif status == 403:
            error(answer, 403, "DENIED")
        else:
            assert answer.status == (404 if "blobs" in path else 200), str(answer)


def test_a_blob_of_another_repository_needs_its_rights(server: Server) -> None:
    """A user who may pull team/app finds no blobs of team/other there."""
    secret = get(server, "team/other/manifests/latest", **basic("alice")).json()
    name = secret["layers"][0]["digest"]
    assert get(server, f"team/other/blobs/{name}", **basic("alice")).status == 200
    error(get(server, f"team/app/blobs/{name}"), 404, "BLOB_UNKNOWN")
    assert get(server, f"team/other/blobs/{name}").status == 401


def test_answers_to_somebody_are_not_for_shared_caches(server: Server) -> None:
    for headers, scope in ((bearer(server, "alice"), "private"), ({}, "public")):
        answer = get(server, "team/app/manifests/1.0", **headers)
        assert str(answer.header("Cache-Control")).startswith(scope)
        layer = answer.json()["layers"][0]["digest"]
        answer = get(server, f"team/app/blobs/{layer}", **headers)
        assert answer.header("Cache-Control") == f"{scope}, max-age=31536000"


def test_the_catalog_shows_only_what_the_user_may_pull(server: Server) -> None:
    def names(**headers: str) -> list[str]:
        return list(get(server, "_catalog", **headers).json()["repositories"])

    assert names(**bearer(server)) == ["team/app"]
    assert names(**bearer(server, "bob")) == ["library/busybox", "team/app"]
    assert "team/private" in names(**bearer(server, "alice"))
    assert get(server, "_catalog").status == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_invalid_tokens(server: Server, scheme: str) -> None:
    good = token(server, "alice")
    assert get(server, "", Authorization=f"{scheme} {good}").status == 200
    for text in ("x", "", good[:-1], good + "A", f"{good} {good}"):
        for path in ("", "team/app/manifests/1.0"):
            answer = get(server, path, Authorization=f"{scheme} {text}")
            assert challenge(answer)["error"] == "invalid_token"


def test_tokens_of_a_node_whose_clock_is_behind(server: Server, files: Path) -> None:
    """The log explains a clock that is too far behind."""
    issuing = Bearer(FileStorage(files / "store"), read_only=True)
    rights = AccountRights(
        [PasswordFile(files / "htpasswd", lambda *_: False)],
        Rules((), lambda _: False),
        Throttle(0),
        remember=0,
        knows_users=True,
    )
    asker = Caller("alice")
    for behind, status in [(895, 200), (905, 401)]:
        text = issuing.issue(asker, time.time() - behind, rights.state(asker))
        shown = {"Authorization": f"Bearer {text}"}
        assert get(server, "team/other/manifests/latest", **shown).status == status
    assert "v2 token is refused: it expired 60" in server.log
    assert "(NTP)" in server.log
    assert text[:60] not in server.log


@pytest.mark.parametrize("change", ["password", "removal"])
def test_a_change_of_the_account_ends_its_tokens(files: Path, tmp_path: Path, change: str) -> None:
    file = password_file(tmp_path, ["alice", "bob"])
    with Server(files / "store", workers=2, env=environment(file, RULES)) as server:
        shown, others = bearer(server, "alice"), bearer(server, "bob")
        path = "team/other/manifests/latest"
        assert get(server, path, **shown).status == 200
        lines = file.read_text().splitlines()
        new = bcrypt.hashpw(b"another-1", bcrypt.gensalt(4)).decode()
        kept = [line for line in lines if not line.startswith("alice:")]
        file.write_text("\n".join(kept + ([f"alice:{new}"] if change == "password" else [])) + "\n")
        end, refused = time.monotonic() + 10, 0
        while refused < 10:  # each worker notices the new file by itself, within a second
            assert time.monotonic() < end
            refused = refused + 1 if get(server, path, **shown).status == 401 else 0
            time.sleep(0.02)
        for _ in range(8):
            assert challenge(get(server, path, **shown))["error"] == "invalid_token"
            assert get(server, "library/busybox/manifests/latest", **others).status == 200


def test_a_wrong_password(server: Server) -> None:
    for path in ("_token", "", "team/app/manifests/1.0"):
        answer = get(server, path, **basic("alice", "wrong"))
        error(answer, 401, "UNAUTHORIZED")
        assert answer.header("WWW-Authenticate")


def test_nothing_secret_is_logged(files: Path) -> None:
    env = {**environment(files / "htpasswd", RULES), "LOGLEVEL": "debug"}
    with Server(files / "store", env=env) as talkative:
        shown = bearer(talkative, "alice")
        assert get(talkative, "team/app/tags/list", **shown).status == 200
        get(talkative, "_token?account=alice", **basic("alice", "wrong hush hush"))
        text = shown["Authorization"].partition(" ")[2]
        for secret in (PASSWORD, "hush", text[:40], basic("alice")["Authorization"][6:]):
            assert secret not in talkative.log


def test_clients_request_tokens_by_get(server: Server) -> None:
    """Clients that send POST first send GET after 405."""
    answer = get(server, "_token", "POST")
    error(answer, 405, "UNSUPPORTED")


@pytest.mark.parametrize("scope", ["", "repository:a/b:pull", "x", "repository::pull", "a b c"])
def test_scopes_change_nothing_where_accounts_count(server: Server, scope: str) -> None:
    """A token identifies the user. The user's access is checked at each request."""
    headers = bearer(server, "alice", scope)
    assert get(server, "team/other/manifests/latest", **headers).status == 200


def test_behind_a_proxy_with_tls(server: Server) -> None:
    answer = get(server, "", X_Forwarded_Proto="https", Host="registry.example.org")
    assert challenge(answer)["realm"] == "https://registry.example.org/v2/_token"


def test_an_open_registry_gives_no_tokens(files: Path) -> None:
    with Server(files / "store") as server:
        assert get(server, "").status == 200
        error(get(server, "_token"), 404, "UNSUPPORTED")
        assert get(server, "team/app/manifests/1.0", **basic("x", "y")).status == 200


def test_a_read_only_store_without_a_secret_takes_basic(tmp_path: Path) -> None:
    world.make(tmp_path / "store")
    env = environment(password_file(tmp_path, ["alice"]), RULES, READ_ONLY="true")
    with Server(tmp_path / "store", env=env) as server:
        answer = get(server, "")
        error(answer, 401, "UNAUTHORIZED")
        assert str(answer.header("WWW-Authenticate")).startswith("Basic realm=")
        assert get(server, "team/other/manifests/latest", **basic("alice")).status == 200


def skopeo(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [tool("skopeo"), "inspect", "--tls-verify=false", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )
    return done.stdout if done.returncode == 0 else done.stderr


@needs("skopeo")
def test_skopeo_logs_in(server: Server, tmp_path: Path) -> None:
    url = f"docker://{server.host}"
    assert "RepoTags" in skopeo(tmp_path, "--no-creds", f"{url}/team/app:1.0")
    assert "RepoTags" in skopeo(tmp_path, f"--creds=alice:{PASSWORD}", f"{url}/team/other")
    assert "RepoTags" in skopeo(tmp_path, f"--creds=bob:{PASSWORD}", f"{url}/library/busybox")
    assert "unauthorized" in skopeo(tmp_path, "--no-creds", f"{url}/team/other").lower()
    assert "unauthorized" in skopeo(tmp_path, "--creds=alice:no", f"{url}/team/other").lower()
    assert "denied" in skopeo(tmp_path, f"--creds=bob:{PASSWORD}", f"{url}/team/other").lower()


# -- a registry that trusts an index -----------------------------------------------------------


def password_index(handler: Handler) -> None:
    """A fake index with passwords: alice may read team/other, all clients may read team/app."""
    authorization = handler.headers.get("Authorization", "")
    alice = authorization == basic("alice")["Authorization"]
    if handler.path == "/v1/users/":
        handler.answer(200 if alice else 401, b'"OK"' if alice else b"{}")
    elif handler.path == "/v1/repositories/team/other/images":
        handler.answer(200 if alice else 401, b"[]" if alice else b"{}")
    elif handler.path == "/v1/repositories/team/app/images":
        known = alice or not authorization
        handler.answer(200 if known else 401, b"[]" if known else b"{}")
    else:
        handler.answer(404, b"{}")


@pytest.fixture(scope="module")
def trusting(files: Path) -> Iterator[Server]:
    with FakeIndex() as index:
        index.behaviour = password_index
        env = {"STANDALONE": "false", "INDEX_ENDPOINT": index.url, "INDEX_TIMEOUT": "2s"}
        with Server(files / "store", env=env) as running:
            yield running


@pytest.mark.parametrize("way", ["basic", "bearer"])
def test_the_index_is_asked_with_the_password(trusting: Server, way: str) -> None:
    def status(user: str | None, repository: str, tag: str) -> int:
        scope = f"repository:{repository}:pull"
        shown = get(trusting, f"_token?{urlencode({'scope': scope})}", **basic(user))
        if way == "basic":
            headers = basic(user)
        elif shown.status != 200:
            return shown.status
        else:
            headers = {"Authorization": f"Bearer {shown.json()['token']}"}
        return get(trusting, f"{repository}/manifests/{tag}", **headers).status

    assert status("alice", "team/other", "latest") == 200
    assert status("alice", "team/app", "1.0") == 200
    assert status(None, "team/app", "1.0") == 200
    assert status(None, "team/other", "latest") == 401
    assert status("mallory", "team/other", "latest") == 401
    assert status("alice", "library/busybox", "latest") == 401


def test_a_token_of_one_repository_opens_no_other(trusting: Server) -> None:
    text = token(trusting, "alice", "repository:team/app:pull", life=60)  # it gives no v1 tokens
    headers = {"Authorization": f"Bearer {text}"}
    assert get(trusting, "team/app/manifests/1.0", **headers).status == 200
    answer = get(trusting, "team/other/manifests/latest", **headers)
    assert answer.status == 403
    assert get(trusting, "", **headers).status == 200


def test_a_login_without_a_repository(trusting: Server) -> None:
    assert get(trusting, "", **bearer(trusting, "alice")).status == 200
    assert get(trusting, "_token", **basic("mallory")).status == 401


@needs("skopeo")
def test_skopeo_and_the_index(trusting: Server, tmp_path: Path) -> None:
    url = f"docker://{trusting.host}"
    assert "RepoTags" in skopeo(tmp_path, f"--creds=alice:{PASSWORD}", f"{url}/team/other")
    assert "RepoTags" in skopeo(tmp_path, "--no-creds", f"{url}/team/app:1.0")
    assert "unauthorized" in skopeo(tmp_path, "--no-creds", f"{url}/team/other").lower()
