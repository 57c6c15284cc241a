"""Certificates for tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.needs import require, tool


def certificate(folder: Path, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """A self-signed certificate and its key, for an address."""
    require("openssl")
    folder.mkdir(parents=True, exist_ok=True)
    key, file = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=a test", "-addext", f"subjectAltName=IP:{name}", "-keyout", str(key), "-out",
         str(file)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return file, key
