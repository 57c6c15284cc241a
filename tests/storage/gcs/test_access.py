"""Credentials of the GCS driver: accounts, roles and keys, with fakes of both APIs."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.backends.ceph import ACCESS, SECRET
from tests.backends.fakegcs import OPTIONS, FakeGcs
from tests.backends.fakegcsxml import FakeGcsXml
from tests.live_server import ROOT
from v1registry.storage import retry
from v1registry.storage.errors import NotFound, Refused, Unavailable
from v1registry.storage.gcs.driver import make
from v1registry.storage.gcs.hmac import GcsHmacStorage, SigningScheme, as_s3, authorization
from v1registry.storage.gcs.json_api import GcsStorage
from v1registry.storage.loading import load

LAYER = "images/" + "a" * 64 + "/layer"
ROLE = "robot@project.iam.gserviceaccount.com"


@pytest.fixture
def fake(fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGcs]:
    monkeypatch.setattr(retry, "PAUSES", (0.01, 0.01, 0.01))
    yield fake_gcs
    fake_gcs.faults.clear()
    fake_gcs.token_life = 3600.0


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Google credentials."""
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)


# -- which way in -----------------------------------------------------------------------------------


def test_the_credentials_choose_the_api(fake: FakeGcs) -> None:
    hmac = {"gs_access_key": "GOOG1", "gs_secret_key": "hush"}
    assert isinstance(make(fake.options(), None), GcsStorage)
    assert isinstance(make({**OPTIONS, **hmac}, None), GcsHmacStorage)
    assert isinstance(make(fake.options(**hmac, oauth2=True), None), GcsStorage)
    assert isinstance(load(fake.options(), None), GcsStorage)
    with pytest.raises(Refused, match="either gcs_credentials or gs_access_key"):
        make(fake.options(**hmac), None)
    for half in ({"gs_access_key": "GOOG1"}, {"gs_secret_key": "hush"}):
        with pytest.raises(Refused, match="belong together"):
            make({**OPTIONS, **half}, None)


# -- an account's key --------------------------------------------------------------------------------


def test_a_token_is_fetched_once_and_renewed(fake: FakeGcs) -> None:
    storage = GcsStorage(fake.options())
    before = fake.requests.count("POST /token")
    for _ in range(3):
        storage.put("a", b"1")
    assert fake.requests.count("POST /token") == before + 1
    fake.tokens.clear()  # they do not count any more, before their time
    assert storage.get("a") == b"1"
    assert fake.requests.count("POST /token") == before + 2


def test_a_closed_account_is_refused(fake: FakeGcs, tmp_path: Path) -> None:
    account = fake.account()
    with FakeGcs(tmp_path) as other:  # has another key
        account["private_key"] = other.account()["private_key"]
    (tmp_path / "account.json").write_text(json.dumps(account))
    storage = GcsStorage(fake.options(gcs_credentials=str(tmp_path / "account.json")))
    with pytest.raises(Refused, match="invalid_grant"):
        storage.prepare()


def test_a_temporary_failure_of_googles_token_server(fake: FakeGcs) -> None:
    storage = GcsStorage(fake.options())
    fake.fail(503, times=999, matches="POST /token")
    begin = time.monotonic()
    with pytest.raises(Unavailable):
        storage.get("nothing")
    assert time.monotonic() - begin < 10  # a bound that we promise, not a speed
    fake.faults.clear()
    with pytest.raises(NotFound):
        storage.get("nothing")


@pytest.mark.parametrize("text", ["", "{}", '{"type": "service_account"}', "no JSON"])
def test_an_invalid_key_file(fake: FakeGcs, tmp_path: Path, text: str) -> None:
    file = tmp_path / "account.json"
    file.write_text(text)
    with pytest.raises(Refused, match="no credentials"):
        GcsStorage(fake.options(gcs_credentials=str(file))).prepare()


@pytest.mark.usefixtures("nobody")
def test_missing_credentials_are_refused(fake: FakeGcs) -> None:
    with pytest.raises(Refused, match="no credentials"):
        GcsStorage(fake.options(gcs_credentials=None)).prepare()
    with pytest.raises(Refused, match="Anonymous credentials cannot be refreshed"):
        GcsStorage(fake.options(gcs_credentials="anonymous")).prepare()


# -- roles ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nobody")
def test_the_key_file_of_the_environment(fake: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(fake.credentials))
    storage = GcsStorage(fake.options(gcs_credentials=None))
    storage.put("a", b"1")
    with urllib.request.urlopen(str(storage.url("a")), timeout=20) as answer:
        assert answer.read() == b"1"


@pytest.mark.usefixtures("nobody")
def test_a_federated_identity(
    fake: FakeGcs,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It cannot sign URLs: the registry streams layers and logs that once."""
    (tmp_path / "subject").write_text("a token of another cloud's")
    identity = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{fake.url}/sts",
        "credential_source": {"file": str(tmp_path / "subject")},
    }
    (tmp_path / "identity.json").write_text(json.dumps(identity))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "identity.json"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "project")
    storage = GcsStorage(fake.options(gcs_credentials=None))
    storage.put("a", b"1")
    assert storage.get("a") == b"1"
    with caplog.at_level(logging.WARNING):
        assert [storage.url("a"), storage.url("a")] == [None, None]
    assert [record.message for record in caplog.records if "v1registry" in record.name] == [
        "storage_redirect has no effect: these credentials cannot sign URLs"
    ]


def machine(fake: FakeGcs, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a process on a machine with a role, whose tokens come from the metadata service."""
    code = (
        "import sys\n"
        "from tests.backends.fakegcs import OPTIONS\n"
        "from v1registry.storage.gcs import client as gcsclient\n"
        "from v1registry.storage.errors import Refused\n"
        "from v1registry.storage.gcs.json_api import GcsStorage\n"
        "gcsclient._SIGN = sys.argv[1] + '/v1/projects/-/serviceAccounts/{1}:signBlob'\n"
        "storage = GcsStorage({**OPTIONS, 'gcs_endpoint': sys.argv[1]})\n"
        "storage.prepare()\n"
        "storage.put('machine', b'1')\n"
        "try: print(storage.url('machine'))\n"
        "except Refused as refused: print(refused)\n"
    )
    address = fake.url.removeprefix("http://")
    environ = {name: value for name, value in os.environ.items() if "GOOGLE" not in name}
    environ |= {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address}
    environ |= {"CLOUDSDK_CONFIG": str(folder), "PYTHONPATH": ".", "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", code, fake.url],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_machines_role_signs_urls_by_the_service(fake: FakeGcs, tmp_path: Path) -> None:
    signed = fake.signed_by_us
    url = machine(fake, tmp_path).stdout.strip()
    assert fake.signed_by_us == signed + 1
    assert ROLE.replace("@", "%40") in url
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.read() == b"1"


def test_a_role_without_the_right_to_sign(fake: FakeGcs, tmp_path: Path) -> None:
    fake.fail(403, times=99, matches="signBlob", reason="forbidden")
    assert "403 POST" in machine(fake, tmp_path).stdout


# -- the way there --------------------------------------------------------------------------------------


def test_requests_use_the_proxy(fake: FakeGcs) -> None:
    """The fake gets requests in the form for a proxy, with the whole URL."""
    where = {"boto_proxy": "127.0.0.1", "boto_proxy_port": fake.port}
    storage = GcsStorage(fake.options(gcs_endpoint="http://storage.example", **where))
    before = len(fake.requests)
    storage.put("proxied", b"1")
    assert storage.get("proxied") == b"1"
    token, put, get = fake.requests[before:]
    assert token == f"POST {fake.url}/token"
    assert put.startswith("POST http://storage.example/upload/storage/v1/b/registry/o?")
    assert get.startswith("GET http://storage.example/download/storage/v1/b/registry/o/")


def test_the_default_endpoint_is_googles(fake: FakeGcs) -> None:
    storage = GcsStorage(fake.options(gcs_endpoint=None))
    begin = "https://storage.googleapis.com/registry/registry/images/"
    assert str(storage.url("images/x")).startswith(begin)
    storage = GcsStorage(fake.options(gcs_endpoint="https://storage.example/"))
    assert str(storage.url("images/x")).startswith("https://storage.example/registry/registry/")


# -- HMAC keys ------------------------------------------------------------------------------------------


def test_hmac_keys_become_options_of_s3() -> None:
    hmac = {**OPTIONS, "gs_access_key": "GOOG1", "gs_secret_key": "hush"}
    found = as_s3({**hmac, "gcs_storage_class": "NEARLINE"})
    assert (found["boto_host"], found["boto_port"]) == ("storage.googleapis.com", None)
    assert (found["s3_secure"], found["s3_region"]) == (True, "auto")
    assert (found["boto_calling_format"], found["s3_storage_class"]) == ("path", "NEARLINE")
    assert as_s3({**hmac, "gs_secure": False})["s3_secure"] is False
    found = as_s3({**hmac, "gcs_endpoint": "http://127.0.0.1:99", "boto_proxy": "p"})
    assert (found["boto_host"], found["boto_port"], found["s3_secure"]) == ("127.0.0.1", 99, False)
    assert found["boto_proxy"] == "p"
    url = str(GcsHmacStorage(hmac).url("images/x"))
    assert url.startswith("https://storage.googleapis.com/registry/registry/images/x?X-Amz-")
    assert "%2Fauto%2Fs3%2Faws4_request" in url


def test_a_signature_has_the_form_of_aws_version_4() -> None:
    """Only some names differ, so botocore can verify the signature."""
    url = "https://storage.example/bucket/a%2Fb/c%20d?b=2&a=1"
    request = AWSRequest("PUT", url, data=b"body")
    request.context["payload_signing_enabled"] = True
    S3SigV4Auth(Credentials("AK", "SK"), "s3", "here").add_auth(request)
    signed = ("x-amz-date", "x-amz-content-sha256")
    headers = {"host": "storage.example", **{name: request.headers[name] for name in signed}}
    query = "b=2&a=1"
    manner = SigningScheme("AWS4", "s3", "x-amz-")
    keys = ("AK", "SK")
    found = authorization(manner, keys, "PUT", "/bucket/a%2Fb/c%20d", query, headers, "here")
    assert found == request.headers["Authorization"]


def test_create_is_signed_in_googles_form(fake_gcs_xml: FakeGcsXml) -> None:
    storage = load(fake_gcs_xml.options(storage_path="/hmac"), None)
    storage.prepare()
    assert storage.create("odd/b%252Fc+~ x", b"1") is True
    assert storage.create("odd/b%252Fc+~ x", b"2") is False
    assert storage.get("odd/b%252Fc+~ x") == b"1"
    storage.delete_folder("odd")
    assert list(storage.list("odd")) == []
    for wrong in ({"gs_secret_key": "wrong"}, {"gs_access_key": "nobody"}):
        with pytest.raises(Refused):
            load(fake_gcs_xml.options(**wrong), None).create("a", b"")


def test_the_fake_refuses_what_google_refuses(fake_gcs_xml: FakeGcsXml) -> None:
    """Otherwise the tests of HMAC keys would prove nothing."""
    from v1registry.storage.s3.driver import S3Storage

    class AsOnS3(GcsHmacStorage):
        def _made(self, client: object) -> None:
            pass

        _delete_all = S3Storage._delete_all

    storage = AsOnS3(fake_gcs_xml.options(storage_path="/hmac"))
    with pytest.raises(Refused, match="IfNoneMatchIsIgnoredByGoogle"):
        storage.create("a", b"")
    storage.put("f/a", b"")
    with pytest.raises(Refused, match="InvalidArgument"):
        storage.delete_folder("f")
    client = storage._clients.get()
    client.meta.events.register(
        "before-sign.s3.PutObject",
        lambda request, **_: request.headers.add_header("x-goog-if-generation-match", "0"),
    )
    with pytest.raises(ClientError, match="ExcessHeaderValues"):
        client.put_object(Bucket=storage.place, Key="a", Body=b"", ContentType="by boto3")


def test_a_lost_answer_is_not_a_lost_win_with_hmac_keys(fake_gcs_xml: FakeGcsXml) -> None:
    storage = load(fake_gcs_xml.options(storage_path="/hmac-lost"), None)
    fake_gcs_xml.lose = 1
    assert storage.create("record", b"mine") is True
    assert fake_gcs_xml.lose == 0
    assert storage.create("record", b"other") is False


def test_urls_of_hmac_keys(fake_gcs_xml: FakeGcsXml) -> None:
    storage = load(fake_gcs_xml.options(storage_path="/hmac"), None)
    storage.put(LAYER, b"0123456789")
    url = str(storage.url(LAYER))
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.read() == b"0123456789"
        assert answer.headers["Cache-Control"] == "no-store"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{url[:-4]}0000", timeout=20)
    assert ACCESS in url
    assert SECRET not in url
