"""PEM files of the configuration: invalid ones are reported before the start."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.config.texts import BASE
from tests.tls import make_certificate
from v1registry.config import load_config
from v1registry.server.settings import SettingsError, settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two valid pairs of files, and files with each kind of error."""
    folder = tmp_path_factory.mktemp("pem")
    for name in ("one", "other"):
        made = make_certificate(folder / "made")
        made.certificate.rename(folder / f"{name}.pem")
        made.key.rename(folder / f"{name}.key")
        made.both.rename(folder / f"{name}.both")
    (folder / "empty").touch()
    (folder / "garbage").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:hush", "-in", folder / "one.key"]
    subprocess.run([*command, "-out", folder / "encrypted"], check=True, capture_output=True)
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:512", "-subj", "/CN=x"]
    files = ["-keyout", folder / "short.key", "-out", folder / "short.pem"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("certificate", "key", "wrong", "reason"),
    [
        ("one.pem", "other.key", "key", "does not belong to the first certificate in {}/one.pem"),
        ("one.pem", "one.pem", "key", "no private key in PEM form in {}/one.pem"),
        ("one.pem", "empty", "key", "no private key in PEM form in {}/empty"),
        ("one.pem", "garbage", "key", "no private key in PEM form in {}/garbage"),
        ("one.pem", "encrypted", "key", "is encrypted: write it without a password"),
        ("one.key", "one.key", "certificate", "no certificate in PEM form in {}/one.key"),
        ("empty", "one.key", "certificate", "no certificate in PEM form in {}/empty"),
        ("garbage", "one.key", "certificate", "no certificate in PEM form in {}/garbage"),
        ("short.pem", "short.key", "certificate", "OpenSSL refuses {}/short.pem: ee key too small"),
        ("nothing", "one.key", "certificate", "no such file: {}/nothing"),
    ],
)
def test_invalid_certificates_and_keys(problems, folder, certificate, key, wrong, reason):
    text = f"{BASE}    tls: {{certificate: {folder}/{certificate}, key: {folder}/{key}}}\n"
    [(name, _, told)] = problems(text)
    assert name == f"dev.tls.{wrong}"
    assert reason.format(folder) in told


@pytest.mark.parametrize(("certificate", "key"), [("one.pem", "one.key"), ("one.both", "one.both")])
def test_a_valid_certificate_and_key(load, folder, certificate, key):
    text = f"{BASE}    tls: {{certificate: {folder}/{certificate}, key: {folder}/{key}}}\n"
    assert load(text).warnings == ()


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("index_ca", "index_endpoint: https://index.example"),
        ("ldap.ca", "ldap: {url: ldaps://a.example, user_dn: 'uid={user},o=x', ca: FILE}"),
        ("cache_ca", "cache_url: rediss://redis.example"),
    ],
)
def test_invalid_certificate_authorities(problems, load, folder, key, more):
    text = BASE + f"    {more}\n" + ("" if "FILE" in more else f"    {key}: FILE\n")
    for name, reason in (
        ("nothing", f"no such file: {folder}/nothing"),
        ("empty", f"no certificate in PEM form in {folder}/empty"),
        ("one.key", f"no certificate in PEM form in {folder}/one.key"),
    ):
        [(wrong, _, told)] = problems(text.replace("FILE", f"{folder}/{name}"))
        assert (wrong, told) == (f"dev.{key}", reason)
    load(text.replace("FILE", f"{folder}/one.pem"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_key_that_this_user_may_not_read(folder, tmp_path):
    """A command may run as another user than the server and warns. `serve` fails."""
    (folder / "one.key").chmod(0o600)
    file = tmp_path / "config.yml"
    file.write_text(f"{BASE}    tls: {{certificate: {folder}/one.pem, key: {folder}/one.key}}\n")
    # pytest's own folders are closed to other users, with several processes one level more
    above = dict.fromkeys([folder, *folder.parents, tmp_path, *tmp_path.parents])
    opened = [part for part in above if part.stat().st_mode & 0o005 != 0o005]
    modes = [part.stat().st_mode for part in opened]
    for part in opened:
        part.chmod(0o755)
    os.seteuid(65534)
    try:
        config = load_config(file, {})
        with pytest.raises(SettingsError) as refused:
            settings({}, config)
    finally:
        os.seteuid(0)
        for part, mode in zip(opened, modes, strict=True):
            part.chmod(mode)
    reason = f"this user may not read {folder}/one.key"
    assert config.warnings == (f"dev.tls.key: not checked: {reason}",)
    assert str(refused.value) == f"tls.key: {reason}"
