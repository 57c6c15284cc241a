"""The read-only switch over real sockets: two workers, engines, pulls, commands, administrators."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw
from tests.index.conftest import PASSWORD
from tests.live_server import Server
from tests.protocol.engine import Image, expect, image, push, quoted, upload
from tests.rights.accounts import JSON, basic, environment, password_file
from tests.transfer.run import call
from tests.waiting import wait_for
from tests.web.demo import demo

ADMIN = "/v1/admin/readonly"
PATH = "/v1/repositories/library/app"
ONE, TWO, THREE = image("one"), image("two"), image("three")
REFUSED = {"error": "The registry is read-only at the moment: the disk is replaced, until 18:00"}
REASON = ("--reason", "the disk is replaced, until 18:00")
V2 = {"User-Agent": "containers/5"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "store", workers=2, env={"SEARCH_BACKEND": "true"}) as server:
        push(server, "library/app", [ONE], ["v1"])
        yield server


def run(server: Server, *arguments: str, status: int = 0) -> tuple[str, str]:
    env = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(server.store)}
    return call(arguments, env, status)


def put_tag(server: Server, headers: dict[str, str] | None = None) -> raw.Answer:
    return raw.put(server, f"{PATH}/tags/v1", quoted(ONE.id), headers or {})


def in_every_worker(server: Server, status: int, headers: dict[str, str] | None = None) -> None:
    """Wait until each worker alone answers a write with this status."""
    workers = server.worker_pids()
    assert len(workers) == server.workers
    for worker in workers:
        others = [pid for pid in workers if pid != worker]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            wait_for(lambda: put_tag(server, headers).status == status)
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)


def files(server: Server) -> dict[str, bytes]:
    """Return all files of the store, without the health check's and the marker's."""
    return {
        str(path.relative_to(server.store)): path.read_bytes()
        for path in sorted(server.store.rglob("*"))
        if path.is_file()
    }


def test_all_workers_refuse_writes_until_it_is_switched_off(server: Server) -> None:
    out, _ = run(server, "readonly", "on", *REASON)
    assert out == "All nodes refuse writes within 5 seconds, until: v1registry readonly off\n"
    in_every_worker(server, 503)
    before = files(server)
    for method, path, body in (
        ("PUT", f"{PATH}/", json.dumps([{"id": TWO.id, "Tag": "v2"}]).encode()),
        ("PUT", f"{PATH}/images", b"[]"),
        ("PUT", f"{PATH}/tags/v1", quoted(ONE.id)),
        ("PUT", f"{PATH}/properties", b'{"access": "private"}'),
        ("DELETE", f"{PATH}/tags/v1", None),
        ("DELETE", f"{PATH}/", None),
        ("PUT", TWO.path("json"), TWO.json),
        ("PUT", TWO.path("layer"), TWO.layer),
        ("PUT", TWO.path("checksum"), b""),
        ("POST", "/ui/repositories/delete/library/app", b""),
    ):
        answer = expect(raw.request(server, method, path, {}, body), 503)
        if path.startswith("/v1/"):
            assert answer.json() == REFUSED, (method, path)
        else:
            assert REFUSED["error"].encode() in answer.body
    for path in (
        *(ONE.path(part) for part in ("json", "layer", "ancestry", "files", "diff")),
        *(f"{PATH}/{name}" for name in ("tags", "images", "properties")),
        *("/v1/search?q=app", "/v1/_ping", "/v1/_status", "/v1/_ready"),
    ):
        expect(raw.get(server, path))
    assert raw.get(server, "/v1/search?q=app").json()["num_results"] == 1
    manifest = expect(raw.get(server, "/v2/library/app/manifests/v1", V2)).json()
    for blob in (manifest["config"], *manifest["layers"]):
        expect(raw.get(server, f"/v2/library/app/blobs/{blob['digest']}", V2))
    assert files(server) == before, "a pull has written to the store"
    assert run(server, "readonly", "off")[0] == "All nodes accept writes within 5 seconds\n"
    in_every_worker(server, 200)
    push(server, "library/app", [TWO], ["v2"])
    assert "Traceback" not in server.log


def test_the_commands(server: Server, tmp_path: Path) -> None:
    assert run(server, "readonly", "status")[0] == "Writes are accepted\n"
    assert json.loads(run(server, "readonly", "status", "--json")[0]) == {"read_only": False}
    assert run(server, "readonly", "off")[0] == "The store was not read-only\n"
    archive = str(tmp_path / "app.tar")
    run(server, "export", archive, "--quiet")
    run(server, "readonly", "on", *REASON)
    status = json.loads(run(server, "readonly", "status", "--json")[0])
    assert (status["read_only"], status["reason"]) == (True, REASON[1])
    out, _ = run(server, "readonly", "status")
    assert out.startswith("Read-only since 20")
    assert out.endswith(f" by {status['by']}: {REASON[1]}\n")
    before = files(server)
    for arguments in (
        ("gc",),
        ("backfill",),
        ("clean",),
        ("verify", "--repair", "--yes"),
        ("import", archive, "--quiet"),
        ("tag", "delete", "library/app", "v1", "--yes"),
        ("repository", "delete", "library/app", "--yes"),
        ("repository", "rename", "library/app", "library/b", "--yes"),
    ):
        error = run(server, *arguments, status=1)[1]
        assert f"{REFUSED['error']} (see: v1registry readonly status)" in error, arguments
    run(server, "gc", "--dry-run", "--grace", "0")
    run(server, "verify")
    run(server, "tag", "list", "library/app")
    assert files(server) == before
    assert "one line" in run(server, "readonly", "on", "--reason", "a\nb", status=1)[1]
    assert "one line" in run(server, "readonly", "on", "--reason", "a" * 501, status=1)[1]


def test_a_push_that_is_running_ends_with_503(server: Server) -> None:
    expect(raw.put(server, THREE.path("json"), THREE.json))
    with raw.Connection(server) as connection:
        head = f"PUT {THREE.path('layer')} HTTP/1.1\r\nHost: {server.host}\r\n"
        head += f"Content-Length: {len(THREE.layer)}\r\n\r\n"
        connection.send(head.encode() + THREE.layer[:20])
        run(server, "readonly", "on", *REASON)
        in_every_worker(server, 503)
        connection.send(THREE.layer[20:])
        answer = connection.read("PUT")
        assert (answer.status, answer.json()) == (503, REFUSED)
    run(server, "readonly", "off")
    in_every_worker(server, 200)
    upload(server, THREE)
    assert raw.get(server, THREE.path("layer")).body == THREE.layer


def test_a_server_starts_on_a_read_only_store(server: Server) -> None:
    run(server, "readonly", "on", *REASON)
    server.stop()
    server.restart()
    assert put_tag(server).json() == REFUSED
    assert raw.get(server, ONE.path("layer")).body == ONE.layer


def test_background_tasks_wait(tmp_path: Path) -> None:
    env = {"CLEAN_INTERVAL": "1", "UPLOADS_LIFE": "1"}
    with Server(tmp_path / "store") as server:
        expect(raw.put(server, TWO.path("json"), TWO.json))
        run(server, "readonly", "on", *REASON)
    before = files(server)
    with Server(tmp_path / "store", env=env) as server:
        wait_for(lambda: f"Cleaned up: not now: {REFUSED['error']}" in server.log)
        assert files(server) == before
        run(server, "readonly", "off")
        pushes = server.store / "_v1registry" / "pushes" / TWO.id
        wait_for(lambda: not list(pushes.glob("*")))


# -- administrators ---------------------------------------------------------------------


def test_nobody_is_an_administrator_of_an_open_registry(server: Server) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = expect(raw.request(server, method, ADMIN, JSON | basic("ann"), b"{}"), 403)
        assert "use the command v1registry readonly" in answer.json()["error"]
    assert run(server, "readonly", "status")[0] == "Writes are accepted\n"


def check_administration(server: Server, admin: dict[str, str], user: dict[str, str]) -> None:
    """Switch as an administrator, and be refused as another user and anonymously."""
    for headers, status in (({}, 401), (user, 403)):
        for method in ("GET", "PUT", "DELETE"):
            expect(raw.request(server, method, ADMIN, headers | JSON, b"{}"), status)
    assert expect(raw.get(server, ADMIN, admin)).json() == {"read_only": False}
    expect(raw.put(server, ADMIN, b'{"reason": "x"}', admin), 415)
    expect(raw.put(server, ADMIN, b"[]", admin | JSON), 400)
    for reason in ('"a\\nb"', "1", json.dumps("a" * 501)):
        expect(raw.put(server, ADMIN, b'{"reason": %s}' % reason.encode(), admin | JSON), 400)
    in_every_worker(server, 200, admin)
    body = json.dumps({"reason": REASON[1]}).encode()
    state = expect(raw.put(server, ADMIN, body, admin | JSON)).json()
    in_every_worker(server, 503, admin)
    assert put_tag(server, admin).json() == REFUSED
    assert expect(raw.get(server, ADMIN, admin)).json() == state
    assert (state["read_only"], state["reason"]) == (True, REASON[1])
    assert expect(raw.request(server, "DELETE", ADMIN, admin)).json() == {"read_only": False}
    in_every_worker(server, 200, admin)


def test_admins_of_a_password_file(tmp_path: Path) -> None:
    file = password_file(tmp_path, ["ann", "bob"])
    env = environment(file, ADMINS="ann")
    with Server(tmp_path / "store", workers=2, env=env) as server:
        push_as(server, basic("ann"), ONE)
        check_administration(server, basic("ann"), basic("bob"))
        assert json.loads(run(server, "readonly", "status", "--json")[0]) == {"read_only": False}


def test_a_password_file_without_admins(tmp_path: Path) -> None:
    with Server(tmp_path / "store", env=environment(password_file(tmp_path, ["ann"]))) as server:
        answer = expect(raw.get(server, ADMIN, basic("ann")), 403)
        assert "see the option admins" in answer.json()["error"]


def test_admins_that_a_proxy_names(tmp_path: Path) -> None:
    env = {"ACCOUNTS_USER_HEADER": "X-Remote-User", "ADMINS": "ann"}
    with Server(tmp_path / "store", env=env) as server:
        assert expect(raw.get(server, ADMIN, {"X-Remote-User": "ann"})).json() == {
            "read_only": False
        }
        expect(raw.get(server, ADMIN, {"X-Remote-User": "bob"}), 403)


def test_administrators_of_the_own_index(tmp_path: Path) -> None:
    with demo(tmp_path, GUNICORN_WORKERS="2") as server:
        server.workers = 2
        root = basic("root", PASSWORD)
        push_as(server, root, ONE)
        check_administration(server, root, basic("ann", PASSWORD))


def push_as(server: Server, headers: dict[str, str], image: Image) -> None:
    expect(raw.put(server, f"{PATH}/", json.dumps([{"id": image.id}]).encode(), headers))
    expect(raw.put(server, image.path("json"), image.json, headers))
    expect(raw.put(server, image.path("layer"), image.layer, headers))
    checksum = {"X-Docker-Checksum-Payload": image.checksum}
    expect(raw.put(server, image.path("checksum"), b"", headers | checksum))
    expect(put_tag(server, headers))
