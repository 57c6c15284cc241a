"""Signed CloudFront URLs for objects of a real bucket, verified by a fake of CloudFront."""

from __future__ import annotations

import base64
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests import raw
from tests.backends.ceph import Ceph
from tests.backends.cloudfront import KEY_ID, Distribution
from tests.faults.engine import Engine, make_image, make_tar, squeeze
from tests.live_server import Server, StartError
from v1registry.storage.errors import Refused
from v1registry.storage.s3.cloudfront import CloudFront

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ENCODINGS = serialization.PrivateFormat
PLAIN = serialization.NoEncryption()


def pem(key=KEY, form=ENCODINGS.TraditionalOpenSSL, encryption=PLAIN) -> str:
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


@pytest.fixture(scope="module")
def distribution(ceph: Ceph) -> Iterator[Distribution]:
    def fetch(key: str, wanted: str | None) -> tuple[int, Mapping[str, str], bytes]:
        more = {"Range": wanted} if wanted else {}
        try:
            found = ceph.client().get_object(Bucket="registry", Key=key, **more)
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"], {}, b""
        metadata = found["ResponseMetadata"]
        kept = {"Content-Range": found["ContentRange"]} if wanted else {}
        return metadata["HTTPStatusCode"], kept, found["Body"].read()

    with Distribution(KEY.public_key(), fetch) as running:
        yield running


def get(url: str | None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(str(url), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_pulled_through_the_distribution(ceph: Ceph, distribution: Distribution, tmp_path: Path):
    root = f"odd root {secrets.token_hex(4)}+~%41"
    env = ceph.environ(
        SETTINGS_FLAVOR="cloudfronts3",
        AWS_SECURE="false",
        AWS_ENCRYPT="false",
        STORAGE_PATH=f"/{root}",
        STORAGE_REDIRECT="true",
        CF_BASE_URL=distribution.url + "/",
        CF_KEYID=KEY_ID,
        CF_KEYSECRET=pem(),
    )
    image = make_image("cloudfront", squeeze(make_tar(1, 3_000_000), 0))
    with Server(tmp_path / "unused", env=env) as server:
        Engine(server, "team/cf").push([image], "v1")
        path = f"/v1/images/{image.id}/layer"
        answer = raw.get(server, path)
        assert answer.status == 302
        assert answer.header("Cache-Control") == "no-cache"
        url = answer.header("Location") or ""
        query = parse_qs(urlsplit(url).query)
        assert 50 < int(query["Expires"][0]) - time.time() <= 60
        assert get(url) == (200, image.layer)
        assert get(url, Range="bytes=2000000-2000999") == (206, image.layer[2_000_000:2_001_000])
        head = raw.request(server, "HEAD", path)
        assert (head.status, head.header("Content-Length")) == (200, str(len(image.layer)))
        beyond = raw.get(server, path, headers={"Range": f"bytes={len(image.layer)}-"})
        assert (beyond.status, beyond.body) == (416, b"")
        assert pem().splitlines()[1] not in server.log
        assert query["Signature"][0] not in server.log
    other = url.replace(image.id, "0" * 64)
    for wrong in (other, url.replace("Expires=", "Expires=9"), url.replace(KEY_ID, "APKAOTHER")):
        assert get(wrong)[0] == 403
    assert get(url.partition("?")[0])[0] == 403
    assert distribution.refused == ["wrong signature"] * 2 + ["unknown key", "not signed"]


def test_urls_expire(distribution: Distribution, monkeypatch: pytest.MonkeyPatch):
    front = CloudFront(distribution.url, KEY_ID, pem())
    monkeypatch.setattr(time, "time", lambda now=time.time: now() - 61)
    late = front.url("a/b")
    monkeypatch.undo()
    assert distribution.why_not(urlsplit(late).path + "?" + urlsplit(late).query) == "expired"
    fresh = urlsplit(front.url("a/b"))
    assert distribution.why_not(f"{fresh.path}?{fresh.query}") is None


def test_forms_of_the_key(distribution: Distribution, tmp_path: Path):
    file = tmp_path / "key.pem"
    file.write_text(pem())
    for form in (
        str(file),
        pem(form=ENCODINGS.PKCS8),
        pem().replace("\n", " "),  # as YAML folds it
        pem().replace("\n", "\\n"),  # as shells and env files hold it
        "comment\n" + pem(),
    ):
        url = urlsplit(CloudFront(distribution.url, KEY_ID, form).url("images/x"))
        assert distribution.why_not(f"{url.path}?{url.query}") is None


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (lambda: "/no/such/key.pem", "/no/such/key.pem cannot be read"),
        (lambda: pem().replace("A", "B"), "not a private key in PEM, or encrypted"),
        (lambda: pem(encryption=serialization.BestAvailableEncryption(b"x")), "or encrypted"),
        (lambda: pem(form=ENCODINGS.PKCS8).replace("END", "FIN"), "not a private key in PEM"),
        (lambda: pem(ec.generate_private_key(ec.SECP256R1())), "need an RSA key"),
    ],
)
def test_invalid_keys(key, reason: str):
    given = key()
    with pytest.raises(Refused, match=r"cloudfront\.keysecret: ") as caught:
        CloudFront("https://d1.cloudfront.net", KEY_ID, given)
    assert reason in str(caught.value)
    assert base64.b64encode(b"x").decode() not in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def test_a_wrong_key_stops_the_start(ceph: Ceph, tmp_path: Path):
    env = ceph.environ(
        SETTINGS_FLAVOR="cloudfronts3",
        AWS_SECURE="false",
        CF_BASE_URL="https://d1.cloudfront.net",
        CF_KEYID=KEY_ID,
        CF_KEYSECRET=str(tmp_path / "none.pem"),
    )
    with pytest.raises(StartError, match=r"cloudfront\.keysecret: .*none\.pem cannot be read"):
        Server(tmp_path / "unused", env=env)


def test_without_cryptography_the_extra_is_named():
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from v1registry.storage import errors\n"
        "from v1registry.storage.s3 import cloudfront\n"
        "try: cloudfront.CloudFront('https://x', 'k', 'k')\n"
        "except errors.Refused as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cloudfront needs cryptography" in done.stdout
    assert "requirements-cloudfront.txt" in done.stdout
