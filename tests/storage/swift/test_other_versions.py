"""The Swift driver with other servers than the newest Swift: an older one, and Ceph's gateway."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import swiftclient
import yaml

from tests.backends.ceph import Ceph
from tests.backends.swift import OPTIONS
from tests.live_server import ROOT
from tests.needs import needs
from v1registry.storage.swift.driver import SwiftStorage

pytestmark = pytest.mark.heavy

LAYER = "images/" + "a" * 64 + "/layer"


def run_tests(*words: str, **environ: str) -> str:
    """Run pytest with these arguments and return its output; fail if a test fails."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@needs("swift-debian")
def test_the_same_tests_on_the_swift_of_debian() -> None:
    files = ("test_contract.py", "swift/test_swift_driver.py", "swift/test_auth.py")
    output = run_tests(
        "-k", "swift", *(f"tests/storage/{name}" for name in files), TEST_SWIFT="debian"
    )
    assert " skipped" not in output


@needs("ceph")
def test_ceph_by_the_api_of_swift(tmp_path: Path) -> None:
    """Ceph's Swift API ignores If-None-Match, and its temporary URLs support SHA-1 only."""
    with Ceph(tmp_path / "ceph") as ceph:
        ceph.admin("subuser", "create", "--uid=reg", "--subuser=reg:swift", "--access=full")
        user = ("--subuser=reg:swift", "--key-type=swift", "--secret=swiftsecret")
        ceph.admin("key", "create", *user)
        more = {
            "swift_authurl": f"http://127.0.0.1:{ceph.port}/auth/1.0",
            "swift_user": "reg:swift",
            "swift_password": "swiftsecret",
            "swift_segment_size": 1024 * 1024,
            "swift_temp_url_digest": "sha1",
            "swift_temp_url_key": "key",
        }
        options = {**OPTIONS, **more}
        client = swiftclient.Connection(options["swift_authurl"], "reg:swift", "swiftsecret")
        client.post_account({"X-Account-Meta-Temp-URL-Key": "key"})
        config = tmp_path / "config.yml"
        config.write_text(yaml.safe_dump({"test": {"standalone": True, **options}}))
        output = run_tests("-k", "given", "tests/storage/test_contract.py", STORE=str(config))
        assert " skipped" not in output
        storage = SwiftStorage(options)
        data = os.urandom(3 * 1024 * 1024)
        storage.commit(storage.stage(LAYER, [data]))
        with urllib.request.urlopen(str(storage.url(LAYER)), timeout=20) as answer:
            assert answer.read() == data
        assert client.get_object("registry", f"registry/{LAYER}")[1] == data
