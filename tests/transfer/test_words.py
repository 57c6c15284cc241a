"""Messages of the commands: formats, states, suggested URLs and causes of errors."""

from __future__ import annotations

import json
import re
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.v2registry import V2Registry
from tests.live_server import free_port
from tests.tls import make_certificate
from tests.transfer.made import MadeStore
from tests.transfer.run import call

INSIDES = re.compile(
    r"Watched|Pool|\w+Error\(|HTTPConn|object at 0x|host=|_ssl\.c|Max retries|Remote\w+\("
)


@pytest.fixture
def made(tmp_path: Path) -> MadeStore:
    made = MadeStore(tmp_path / "store")
    made.tag("team/app", "1", made.image(None))
    return made


def command(made: MadeStore, *arguments: str, status: int = 0, **env: str) -> tuple[str, str]:
    base = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(made.folder), "HOME": "/nonexistent"}
    return call(arguments, {**base, **env}, status)


# -- the format of an export ---------------------------------------------------------------------


def test_an_archive_name_selects_the_archive_format(made: MadeStore, tmp_path: Path) -> None:
    command(made, "export", str(tmp_path / "new.tar"))
    with tarfile.open(tmp_path / "new.tar") as tar:
        assert "manifest.json" in tar.getnames()
    command(made, "export", str(tmp_path / "images"))
    assert (tmp_path / "images/oci-layout").exists()


def test_images_are_added_to_an_existing_folder(made: MadeStore, tmp_path: Path) -> None:
    """The name of an existing folder does not matter, and --format takes precedence."""
    command(made, "export", str(tmp_path / "old.tar"), "--format", "oci")
    assert (tmp_path / "old.tar/oci-layout").exists()
    command(made, "export", str(tmp_path / "old.tar"))
    assert (tmp_path / "old.tar/oci-layout").exists()
    command(made, "export", str(tmp_path / "images"), "--format", "docker")
    assert tarfile.is_tarfile(tmp_path / "images")


@pytest.mark.parametrize("name", ["new.tar.gz", "new.tgz", "new.tar.zst", "new.TXZ", "new.zip"])
def test_other_archives_are_refused(made: MadeStore, tmp_path: Path, name: str) -> None:
    _, error = command(made, "export", str(tmp_path / name), status=1)
    assert "give a name that ends with .tar" in error
    assert not (tmp_path / name).exists()


def test_standard_output_takes_an_archive(
    made: MadeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, error = command(made, "export", "-", "--format", "oci", status=1)
    assert "--format docker" in error
    assert not (tmp_path / "-").exists()
    command(made, "export", "-")
    assert not (tmp_path / "-").exists()


# -- states --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.tar", "x"])
def test_states_have_the_name_of_the_command(made: MadeStore, tmp_path: Path, name: str) -> None:
    def told(store: MadeStore, *arguments: str) -> tuple[str, dict[str, Any]]:
        out, error = command(store, *arguments)
        document = json.loads(command(store, *arguments, "--json")[0])
        assert not re.search(r"\bmove|\bmoved|mounted,", out + error)
        return out + error, document["totals"]

    text, totals = told(made, "export", str(tmp_path / name))
    assert "exported    team/app:1" in text
    assert "[1/1] exported team/app:1" in text
    assert "images: 1 exported; blobs: 1 written (" in text
    assert (totals["exported"], totals["failed"]) == (1, 0)
    assert not {"moved", "would_move"} & totals.keys()
    other = MadeStore(tmp_path / "other")
    text, totals = told(other, "import", str(tmp_path / name))
    assert "imported    team/app:1" in text
    assert "[1/1] imported team/app:1" in text
    assert "images: 1 imported; blobs: 1 written (" in text
    assert (totals["imported"], totals["there"], totals["failed"]) == (0, 1, 0)


# -- addresses -----------------------------------------------------------------------------------


def migrate(made: MadeStore, to: str, *arguments: str, **env: str) -> str:
    """Return the message for a registry that does not answer as expected, in one line."""
    arguments = ("migrate", "--to", to, "--no-journal", "--timeout", "0.5", *arguments)
    _, error = command(made, *arguments, status=1, **env)
    lines = [line for line in error.splitlines() if "store: " not in line and "warning" not in line]
    assert len(lines) == 1, error
    assert not INSIDES.search(error), error
    return error


def test_an_address_without_a_scheme(made: MadeStore, go: V2Registry) -> None:
    hint = f"https is assumed; for a registry without TLS: --to http://{go.host}"
    assert hint in migrate(made, go.host)
    port = free_port()
    assert f"--to http://localhost:{port}" in migrate(made, f"localhost:{port}")


def test_the_wrong_scheme(made: MadeStore, go: V2Registry, tmp_path: Path) -> None:
    assert f"for a registry without TLS: --to http://{go.host}" in migrate(
        made, go.url.replace("http:", "https:")
    )
    tls = make_certificate(tmp_path)
    with V2Registry(tmp_path / "tls", tls=(tls.certificate, tls.key)) as secure:
        text = migrate(made, f"http://{secure.host}")
        assert f"for a registry with TLS: --to https://{secure.host}" in text
        text = migrate(made, secure.host)
        assert "certificate verify failed: self-signed certificate" in text


@pytest.mark.parametrize("to", ["http://[::1", "http://h:99999", "ftp://h", "http://", "http:///x"])
def test_bad_addresses_of_registries(made: MadeStore, to: str) -> None:
    assert "must be https://host[:port], or http://" in migrate(made, to)


def test_more_than_an_address(made: MadeStore) -> None:
    assert "--map renames repositories" in migrate(made, "https://r.example/team")
    error = migrate(made, "https://ann:hush@r.example/team")
    assert "not in the URL" in error
    assert "hush" not in error


# -- causes --------------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[tuple[int, int]]:
    """Yield two ports: one closes connections at once, the other one never answers."""
    closing, mute = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))

    def close_all() -> None:
        while True:
            try:
                connection, _ = closing.accept()
            except OSError:
                return
            connection.recv(1000)
            connection.close()

    threading.Thread(target=close_all, daemon=True).start()
    yield closing.getsockname()[1], mute.getsockname()[1]
    closing.shutdown(socket.SHUT_RDWR)
    for one in (closing, mute):
        one.close()


def test_causes_are_plain_words(made: MadeStore, silent: tuple[int, int]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert f"{url}: GET /v2/: Connection refused" in migrate(made, url)
    assert "cannot be resolved" in migrate(made, "http://nowhere.invalid")
    assert "closed before the answer was complete" in migrate(made, f"http://127.0.0.1:{silent[0]}")
    assert "no answer: timed out" in migrate(made, f"http://127.0.0.1:{silent[1]}")
    error = migrate(made, "http://r.example", HTTP_PROXY=url, http_proxy=url)
    assert "Connection refused" in error


SWIFT = {"OS_CONTAINER": "c", "OS_USERNAME": "a:b", "OS_PASSWORD": "pw", "OS_TENANT_NAME": "t"}
STORES = {
    "swift": {**SWIFT, "OS_AUTH_URL": "{url}/auth/v1.0"},
    "swift-3": {**SWIFT, "OS_AUTH_URL": "{url}/v3"},
    "glance": {**SWIFT, "OS_AUTH_URL": "{url}/v3"},
    "s3": {"AWS_BUCKET": "b", "AWS_KEY": "a", "AWS_SECRET": "b", "AWS_HOST": "127.0.0.1",
           "AWS_SECURE": "false", "AWS_PORT": "{port}"},
    "gcs": {"GCS_BUCKET": "b", "GCS_ENDPOINT": "{url}", "GCS_CREDENTIALS": "anonymous"},
}  # fmt: skip


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("kind", ["dead", "closing"])
def test_stores_that_do_not_answer(
    made: MadeStore, silent: tuple[int, int], tmp_path: Path, store: str, kind: str
) -> None:
    port = free_port() if kind == "dead" else silent[0]
    env = {
        name: value.format(url=f"http://127.0.0.1:{port}", port=port)
        for name, value in STORES[store].items()
    }
    env["SETTINGS_FLAVOR"] = store.partition("-")[0]
    _, error = command(made, "export", str(tmp_path / "x"), status=1, **env)
    assert f"127.0.0.1:{port}" in error
    assert not INSIDES.search(error), error
