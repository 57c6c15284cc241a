"""How the Swift driver gets its tokens and finds its server, and its errors if that fails.

Version 1 is Swift's own; for 2 and 3 a fake Keystone stands before the same real Swift.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.backends.keystone import Keystone
from tests.backends.quirky import Answer, Asked, Quirky
from tests.backends.swift import OPTIONS, PASSWORD, TEMP_URL_KEY, USER, Swift
from tests.live_server import ROOT, Server, free_port
from tests.needs import needs
from tests.protocol.engine import image, upload
from tests.tls import make_certificate
from v1registry.storage.errors import NotFound, Refused, StorageError, StoreFull, Unavailable
from v1registry.storage.swift.client import SwiftAccount, auth_version
from v1registry.storage.swift.driver import SwiftStorage

LAYER = "images/" + "a" * 64 + "/layer"


@pytest.fixture
def keystone(swift: Swift) -> Iterator[Keystone]:
    with Keystone(swift) as fake:
        yield fake
        assert fake.unexpected == []


def works(storage: SwiftStorage) -> bool:
    key = f"{secrets.token_hex(8)}/key"
    storage.put(key, b"value")
    value = storage.get(key)
    storage.delete(key)
    return value == b"value"


@pytest.mark.parametrize("how", ["Keystone", "Swift's own authentication"])
def test_the_commands_in_docs_make_a_usable_container(
    keystone: Keystone, swift: Swift, how: str, tmp_path: Path
) -> None:
    """Run the commands of docs/swift.md in their order, with the values of this Swift."""
    with_keystone, with_own, serve = re.findall(
        r"```sh\n(.*?)```", (ROOT / "docs" / "swift.md").read_text(), re.DOTALL
    )[:3]
    container = f"page-{secrets.token_hex(4)}"
    values = {
        "https://keystone.example:5000": keystone.url,
        "https://swift.example/auth/v1.0": swift.authurl,
        "OS_PROJECT_NAME=registry": "OS_PROJECT_NAME=images",
        "USER_DOMAIN_NAME=Default": "USER_DOMAIN_NAME=People",
        "PROJECT_DOMAIN_NAME=Default": "PROJECT_DOMAIN_NAME=Projects",
        "REGION_NAME=one": "REGION_NAME=two",
        "account:user": USER,
        "OS_PASSWORD=...": f"OS_PASSWORD={'right' if how == 'Keystone' else PASSWORD}",
        "images\n": f"{container}\n",
        " images ": f" {container} ",
        "OS_CONTAINER=images": f"OS_CONTAINER={container}",
        # ours lacks the library for Keystone, so the container is made by Swift's own authentication
        "swift post": f"ST_AUTH={swift.authurl} ST_USER={USER} ST_KEY={PASSWORD}"
        f" {Path(sys.executable).with_name('swift')} -V 1 post"
        if how == "Keystone"
        else f"{Path(sys.executable).with_name('swift')} post",
        "make run": "env",
    }
    script = (with_keystone if how == "Keystone" else with_own) + serve
    script = re.sub(r"bash scripts/venv.sh .*", "", script)
    for old, new in values.items():
        script = script.replace(old, new)
    done = subprocess.run(
        ["bash", "-euc", script],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = (line.partition("=") for line in done.stdout.splitlines())
    env = {name: value for name, _, value in lines if name.startswith(("OS_", "SETTINGS_"))}
    try:
        with Server(tmp_path, env={**env, "STORAGE_PATH": "/registry"}) as server:
            upload(server, image("swift page"))
        assert swift.client().get_container(container)[1]
    finally:
        client = swift.client()
        for item in client.get_container(container)[1]:
            client.delete_object(container, item["name"])
        client.delete_container(container)


# -- Keystone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/v3", "/v3/", "", "/"])
def test_version_3(keystone: Keystone, url: str) -> None:
    storage = SwiftStorage(keystone.options(swift_authurl=keystone.url + url))
    storage.prepare()
    storage.commit(storage.stage(LAYER, [b"layer"]))
    assert storage.get(LAYER) == b"layer"
    storage.delete(LAYER)
    assert keystone.issued == 1


def test_the_option_for_the_project_name(keystone: Keystone) -> None:
    options = keystone.options(swift_tenant_name=None, swift_project_name="images")
    assert works(SwiftStorage(options))


@pytest.mark.parametrize("url", ["/v2.0", "/v2.0/"])
def test_version_2(keystone: Keystone, url: str) -> None:
    storage = SwiftStorage(keystone.options(swift_authurl=keystone.url + url))
    assert works(storage)
    assert keystone.issued == 1


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"swift_password": "wrong"}, "swift_user or swift_password is wrong"),
        ({"swift_user": "nobody"}, "swift_user or swift_password is wrong"),
        ({"swift_user_domain": "Default"}, "swift_user or swift_password is wrong"),
        ({"swift_region_name": "three"}, "three region not found .swift_region_name"),
        (
            {"swift_endpoint_type": "admin"},
            "admin endpoint .* not found .swift_region_name, swift_endpoint_type",
        ),
        ({"swift_tenant_name": None}, "swift_tenant_name: must be set with version 3"),
        ({"swift_authurl": "keystone:5000"}, "swift_authurl: must be a URL"),
    ],
)
def test_wrong_options_are_named(keystone: Keystone, wrong: dict[str, object], text: str) -> None:
    with pytest.raises(Refused, match=text):
        SwiftStorage(keystone.options(**wrong)).prepare()


def test_the_interface_is_chosen(keystone: Keystone) -> None:
    """The internal address in the catalog is unreachable, but clients get the public one."""
    more = {"swift_endpoint_type": "internal", "swift_temp_url_key": TEMP_URL_KEY}
    storage = SwiftStorage(keystone.options(**more))
    with pytest.raises(Unavailable):
        storage.get(LAYER)
    assert "/v1/AUTH_test/registry/" in str(storage.url(LAYER))


def test_an_unreachable_keystone() -> None:
    options = {**OPTIONS, "swift_authurl": f"http://127.0.0.1:{free_port()}/v3"}
    storage = SwiftStorage({**options, "swift_tenant_name": "images"})
    begin = time.monotonic()
    for act in (lambda: storage.get("a"), lambda: storage.put("a", b""), storage.check):
        with pytest.raises(Unavailable):
            act()
    assert time.monotonic() - begin < 15  # a bound that we promise, not a speed


def test_a_server_that_is_not_keystone(swift: Swift) -> None:
    options = swift.options(swift_authurl=f"http://127.0.0.1:{swift.port}/v3")
    with pytest.raises(Refused, match="swift_authurl"):
        SwiftStorage({**options, "swift_tenant_name": "images"}).prepare()


# -- tokens -----------------------------------------------------------------------------------------


def test_a_token_is_renewed_before_it_expires(keystone: Keystone) -> None:
    keystone.expires = "2020-01-01T00:00:00.000000Z"
    storage = SwiftStorage(keystone.options())
    assert works(storage)
    assert keystone.issued >= 3
    keystone.expires = "2999-01-01T00:00:00.000000Z"
    assert works(storage)
    known = keystone.issued
    assert works(storage)
    assert keystone.issued == known


@pytest.mark.parametrize("version", [1, 3])
def test_a_token_that_is_refused_is_renewed(swift: Swift, keystone: Keystone, version: int) -> None:
    storage = SwiftStorage(swift.options() if version == 1 else keystone.options())
    assert works(storage)
    for act in (
        lambda: storage.put("renewed", b"x"),
        lambda: storage.get("renewed"),
        lambda: list(storage.list("renewed")),
        lambda: storage.create("renewed/too", b"x"),
        lambda: storage.commit(storage.stage(LAYER, [b"layer"])),
        lambda: storage.delete_folder("renewed"),
    ):
        swift.forget_tokens()
        act()
    assert storage.get(LAYER) == b"layer"
    storage.delete(LAYER)
    storage.delete("renewed")


# -- the way to the server --------------------------------------------------------------------------


@needs("swift")
def test_over_tls(tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls")
    folder = tmp_path / "swift"
    folder.mkdir()
    with Swift(folder, tls=(files.certificate, files.key)) as other:
        with pytest.raises(Unavailable, match="certificate verify failed"):
            SwiftStorage(other.options()).get(LAYER)
        storage = SwiftStorage(other.options(swift_cacert=str(files.certificate)))
        storage.prepare()
        assert works(storage)
        missing = SwiftStorage(other.options(swift_cacert=str(tmp_path / "none.pem")))
        with pytest.raises(StorageError, match=r"none\.pem"):
            missing.prepare()


def test_a_read_timeout_is_not_retried(swift: Swift) -> None:
    """Clients wait as well: a request that took `swift_read_timeout` is not retried."""
    arrived: list[str] = []
    end = threading.Event()

    def stall(asked: Asked) -> Answer:
        arrived.append(asked.method)
        end.wait(60)
        return Answer(503)

    with Quirky(swift.port) as quirky:
        url = swift.authurl.replace(str(swift.port), str(quirky.port))
        storage = SwiftStorage(swift.options(swift_authurl=url, swift_read_timeout=1))
        assert works(storage)
        quirky.before = stall
        for act in (lambda: storage.get("a"), lambda: list(storage.list("a"))):
            with pytest.raises(Unavailable, match="timed out"):
                act()
        end.set()
        assert arrived == ["GET", "GET"]


class Answering:
    """A fake Swift that answers with the given statuses, then with 200."""

    def __init__(self, statuses: list[int]) -> None:
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                outer.asked += 1
                status = statuses.pop(0) if statuses else 200
                self.send_response(status)
                self.send_header("Content-Length", "4")
                self.send_header("ETag", hashlib.md5(b"data").hexdigest())
                self.end_headers()

            def do_GET(self) -> None:
                self.do_HEAD()
                self.wfile.write(b"data")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/AUTH_test"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.mark.parametrize(
    ("statuses", "raised", "asked"),
    [
        ([503, 500], None, 3),
        ([498, 429], None, 3),
        ([408], None, 2),
        ([401], None, 2),  # keystoneauth logs in again by itself
        ([401, 401, 503], None, 4),  # a good token that cannot be looked up
        ([401] * 6, Unavailable, 6),
        ([503, 502, 504], Unavailable, 3),
        ([404], NotFound, 1),
        ([403], Refused, 1),
        ([400], Refused, 1),
        ([409], Unavailable, 1),
        ([413], StoreFull, 1),
        ([507], StoreFull, 1),
        ([501], Refused, 1),
    ],
)
def test_statuses_that_are_retried(
    swift: Swift,
    monkeypatch: pytest.MonkeyPatch,
    statuses: list[int],
    raised: type[Exception] | None,
    asked: int,
) -> None:
    with Answering(list(statuses)) as fake:
        storage = SwiftStorage(swift.options())
        monkeypatch.setattr(SwiftAccount, "endpoint_of", lambda *_: fake.url)
        if raised is None:
            assert storage.get("key") == b"data"
        else:
            with pytest.raises(raised) as caught:
                storage.get("key")
            assert type(caught.value) is raised
        assert fake.asked == asked


def test_a_server_that_is_not_swift(swift: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server on the way, such as a portal, answers 200 to every request."""
    with Answering([]) as fake:
        storage = SwiftStorage(swift.options())
        monkeypatch.setattr(SwiftAccount, "endpoint_of", lambda *_: fake.url)
        with pytest.raises(Refused, match="not Swift's"):
            list(storage.list("images"))
        with pytest.raises(Refused, match="not Swift's"):
            storage.stat("key")


# -- options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "version"),
    [
        ("http://swift.example/auth/v1.0", 1),
        ("http://swift.example/auth/v1.0/", 1),
        ("http://rgw.example:7480/auth/1.0", 1),
        ("http://rgw.example:7480/auth", 1),
        ("https://identity.example/v1.0", 1),
        ("http://keystone.example:5000/v2.0", 2),
        ("http://keystone.example:5000/v2.0/", 2),
        ("http://keystone.example:5000/v3", 3),
        ("http://keystone.example:5000", 3),
        ("http://keystone.example/identity/v3/", 3),
    ],
)
def test_the_url_chooses_the_version(url: str, version: int) -> None:
    assert auth_version({**OPTIONS, "swift_authurl": url}) == version
    assert auth_version({**OPTIONS, "swift_authurl": url, "swift_auth_version": 2}) == 2


def test_an_unknown_key_for_temporary_urls_is_refused(swift: Swift) -> None:
    SwiftStorage(swift.options(swift_temp_url_key=TEMP_URL_KEY)).prepare()
    with pytest.raises(Refused, match="swift_temp_url_key is none of the keys"):
        SwiftStorage(swift.options(swift_temp_url_key="other")).prepare()


def test_a_missing_library_is_named() -> None:
    code = (
        "import sys; sys.modules['keystoneauth1'] = None\n"
        "from v1registry.storage import errors, loading\n"
        "try: loading.load({'storage': 'swift'}, None)\n"
        "except errors.Refused as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "swift needs keystoneauth1" in done.stdout
    assert "requirements-swift.txt" in done.stdout
