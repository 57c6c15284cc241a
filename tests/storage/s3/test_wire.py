"""The fast client of the S3 driver, and the requests that it leaves to boto3; with a real Ceph."""

from __future__ import annotations

import base64
import secrets
import time
from pathlib import Path

import pytest

from tests.backends.ceph import ACCESS, SECRET, Ceph
from tests.backends.proxy import Proxy
from tests.live_server import free_port
from tests.needs import needs
from tests.nginx import Nginx
from v1registry.storage import ListEntry, keys
from v1registry.storage.errors import NotFound, Refused, StorageError, StoreFull, Unavailable
from v1registry.storage.s3.driver import S3Storage

LAYER = "images/" + "a" * 64 + "/layer"
MIB = 1024 * 1024


@pytest.fixture
def root() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def storage(ceph: Ceph, root: str) -> S3Storage:
    return S3Storage(ceph.options(storage_path=f"/{root}"))


class Answered:
    """A response that the store did not send."""

    def __init__(self, status: int, code: str = "", **headers: str) -> None:
        self.status_code, self.headers = status, headers
        self.content = f"<Error><Code>{code}</Code></Error>".encode() if code else b""


def answer_once(storage: S3Storage, answer: Answered) -> None:
    """Answer the next request instead of the store."""
    client = storage._clients.get()
    own, answers = client._http.send, [answer]
    client._http.send = lambda request: answers.pop() if answers else own(request)


@pytest.mark.parametrize(
    "answer",
    [
        Answered(301, "PermanentRedirect"),
        Answered(307, "TemporaryRedirect"),
        Answered(400, "AuthorizationHeaderMalformed"),
        Answered(503, "SlowDown"),
        Answered(500, "InternalError"),
        Answered(400, "RequestTimeout"),
        Answered(502),
    ],
    ids=lambda answer: str(answer.status_code),
)
def test_less_simple_requests_are_left_to_boto3(storage: S3Storage, answer: Answered) -> None:
    """boto3 handles a bucket in another region; temporary errors are retried."""
    acts = {
        "put": lambda: storage.put("f/a", b"1"),
        "get": lambda: storage.get("f/a"),
        "stat": lambda: storage.stat("f/a").size,
        "list": lambda: list(storage.list("f")),
        "stage": lambda: storage.commit(storage.stage(LAYER, [b"layer"])),
        "delete": lambda: storage.delete("f/a"),
    }
    found = {}
    for name, act in acts.items():
        answer_once(storage, answer)
        found[name] = act()
    assert (found["get"], found["stat"], found["list"]) == (b"1", 1, [ListEntry("a", False)])
    assert storage.get(LAYER) == b"layer"
    assert list(storage.list("f")) == []


def test_persistent_errors_are_raised(storage: S3Storage) -> None:
    for status, code, kind in (
        (507, "", StoreFull),
        (403, "AccessDenied", Refused),
        (404, "", NotFound),
        (400, "ExpiredToken", Unavailable),
    ):
        answer_once(storage, Answered(status, code))
        with pytest.raises(kind):
            storage.get("f/a")


def test_without_credentials(ceph: Ceph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    storage = S3Storage(ceph.options(s3_access_key=None, s3_secret_key=None))
    for act in (lambda: storage.get("a"), lambda: storage.put("a", b"")):
        with pytest.raises(Refused, match="credentials"):
            act()
    # what boto3 finds by itself: here in a file, elsewhere the role of the machine
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id={ACCESS}\naws_secret_access_key={SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    S3Storage(ceph.options(s3_access_key=None, s3_secret_key=None)).prepare()


@needs("nginx")
@pytest.mark.parametrize("sigv4", [True, False])
def test_requests_use_the_proxy(ceph: Ceph, root: str, tmp_path: Path, sigv4: bool) -> None:
    """boto3 and the fast client use a proxy with a password, for small values and for layers."""
    port, log = free_port(), tmp_path / "log"
    word = base64.b64encode(b"ann:pass word").decode()
    beside = f"""
        log_format lines "$request";
        server {{
            listen 127.0.0.1:{port};
            access_log {log} lines;
            client_max_body_size 0;
            location / {{
                if ($http_proxy_authorization != "Basic {word}") {{ return 407; }}
                proxy_set_header Host $http_host;
                proxy_pass {ceph.url};
            }}
        }}"""
    where = {"storage_path": f"/{root}", "boto_host": "localhost", "s3_use_sigv4": sigv4}
    proxy = {"boto_proxy": "127.0.0.1", "boto_proxy_port": port, "boto_proxy_user": "ann"}
    with Nginx(tmp_path / "nginx", [ceph.port], beside=beside):
        storage = S3Storage(ceph.options(**where, **proxy, boto_proxy_pass="pass word"))
        assert storage.create("a", b"1")
        storage.put("b", b"2")
        assert storage.get("b") == b"2"
        storage.commit(storage.stage("images/c/layer", [bytes(3)]))
        assert storage.stat("images/c/layer").size == 3
        assert {entry.name for entry in storage.list("images")} == {"c"}
        lines = log.read_text().splitlines()
        begin = f" http://localhost:{ceph.port}/registry"
        assert len(lines) >= 8
        assert [line for line in lines if begin not in line] == []
        with pytest.raises(StorageError, match="407"):
            S3Storage(ceph.options(**where, **proxy, boto_proxy_pass="wrong")).get("b")


def test_the_older_signature(ceph: Ceph, root: str) -> None:
    """Requests with the older signature are left to boto3."""
    storage = S3Storage(ceph.options(storage_path=f"/{root}", s3_use_sigv4=False))
    storage.prepare()
    storage.put("a", b"1")
    storage.put("f/b/c", b"1")
    assert storage.get("a") == b"1"
    assert list(storage.list("f")) == [ListEntry("b", True)]
    assert list(storage.list("f/b")) == [ListEntry("c", False)]
    storage.delete_folder("f")
    assert list(storage.list("f")) == []
    storage.commit(storage.stage(LAYER, [bytes(9 * MIB)]))
    assert storage.stat(LAYER).size == 9 * MIB


class Renaming:
    """Gives the root element of some responses another name of the same length, as emulators do."""

    def __init__(self, old: bytes, new: bytes) -> None:
        assert len(old) == len(new)
        self._names = old, new

    def __call__(self, data: bytes) -> bytes:
        return data.replace(*self._names)


@pytest.mark.parametrize("sigv4", [True, False], ids=["sigv4", "older"])
@pytest.mark.parametrize(
    ("operation", "name", "other"),
    [
        ("list_parts", "ListPartsResult", "ListPartsOutput"),
        (
            "create_multipart_upload",
            "InitiateMultipartUploadResult",
            "InitiateMultipartUploadOutput",
        ),
        ("list_objects(_v2)?", "ListBucketResult", "ListBucketOutput"),
    ],
)
def test_an_emulator_with_other_root_elements_is_named(
    ceph: Ceph, root: str, sigv4: bool, operation: str, name: str, other: str
) -> None:
    with Proxy(ceph.port) as proxy:
        options = ceph.options(boto_port=proxy.port, storage_path=f"/{root}", s3_use_sigv4=sigv4)
        storage = S3Storage(options)
        storage.prepare()
        proxy.change = Renaming(name.encode(), other.encode())
        text = f"{operation}: the response is an element {other} in place of {name}: this server"
        with pytest.raises(Refused, match=text):
            storage.commit(storage.stage(LAYER, [b"bytes"]))
            list(storage.list("images"))
        if name != "ListBucketResult":  # which a start does not need
            with pytest.raises(Refused, match=text):
                storage.prepare()
        proxy.change = Renaming(name.encode(), b"html".ljust(len(name)))
        with pytest.raises(Unavailable):
            storage.commit(storage.stage(LAYER, [b"bytes"]))
            list(storage.list("images"))


def test_prepare_leaves_no_objects(ceph: Ceph, root: str) -> None:
    storage = S3Storage(ceph.options(storage_path=f"/{root}"))
    storage.prepare()
    assert list(storage.list(keys.OURS)) == []
    left = storage._stage(f"{keys.OURS}/check-1", [b"true"])  # of a process that was killed
    assert storage.clean(0) == 0
    assert storage.clean(time.time() + 3600) == 1
    with pytest.raises(NotFound):
        storage.commit(left)
