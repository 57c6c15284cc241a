"""gunicorn's settings from environment variables."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn.config import Config

from tests.server.serving import ROOT, Serving
from tests.tls import make_certificate
from v1registry.server import settings as module
from v1registry.server.settings import (
    SettingsError,
    connections_within,
    extra_options,
    raise_open_files,
    settings,
    stall_timeout,
)


def config(**more):
    values = {
        "loglevel": "info",
        "log_format": "plain",
        "trusted_proxies": [],
        "tls": SimpleNamespace(certificate=None, key=None),
        "v2": SimpleNamespace(port=0),
        "web": SimpleNamespace(enabled=True),
    }
    return SimpleNamespace(**{**values, **more})


def test_gunicorn_takes_every_setting():
    cfg = Config()
    for name, value in settings({}, config()).items():
        cfg.set(name, value)
    assert cfg.address == [("0.0.0.0", 5000)]
    assert cfg.worker_class.__name__ == "Worker"
    assert cfg.forwarded_allow_ips == []
    assert cfg.control_socket_disable is True
    assert (cfg.timeout, cfg.graceful_timeout, cfg.keepalive) == (300, 3600, 75)
    assert 2 <= cfg.workers <= 4
    assert cfg.logger_class.__name__ == "PlainLogger"
    assert not cfg.is_ssl


def test_the_environment_of_a_0x_launcher():
    found = settings(
        {
            "REGISTRY_HOST": "127.0.0.1",
            "REGISTRY_PORT": "5005",
            "GUNICORN_WORKERS": "8",
            "GUNICORN_GRACEFUL_TIMEOUT": "10",
            "GUNICORN_SILENT_TIMEOUT": "3600",
            "GUNICORN_ACCESS_LOG_FILE": "/tmp/a",
            "GUNICORN_ERROR_LOG_FILE": "/tmp/e",
            "GUNICORN_MAX_REQUESTS": "100",
        },
        config(loglevel="WARN", log_format="json", trusted_proxies=["10.0.0.0/8", "::1"]),
    )
    assert found["bind"] == "127.0.0.1:5005"
    assert found["workers"] == 8
    assert (found["graceful_timeout"], found["timeout"]) == (10, 3600)
    assert (found["accesslog"], found["errorlog"]) == ("/tmp/a", "/tmp/e")
    assert found["max_requests"] == 100
    assert found["loglevel"] == "warning"
    assert found["logger_class"] == "v1registry.server.log.JSONLogger"
    assert found["forwarded_allow_ips"] == "10.0.0.0/8,::1"


def test_an_empty_variable_counts_as_unset():
    environ = dict.fromkeys(("REGISTRY_HOST", "GUNICORN_WORKERS", "GUNICORN_OPTS"), "")
    assert settings(environ, config())["bind"] == "0.0.0.0:5000"


@pytest.mark.parametrize(
    ("host", "bind"),
    [("::", "[::]:5000"), ("[::1]", "[::1]:5000"), ("unix:/run/r.sock", "unix:/run/r.sock")],
)
def test_bind(host, bind):
    assert settings({"REGISTRY_HOST": host}, config())["bind"] == bind


@pytest.mark.parametrize(
    ("host", "bind"),
    [
        ("", ["0.0.0.0:5000", "0.0.0.0:5001"]),
        ("::1", ["[::1]:5000", "[::1]:5001"]),
        ("unix:/run/r.sock", ["unix:/run/r.sock", "0.0.0.0:5001"]),
    ],
)
def test_a_port_for_v2(host, bind):
    own = config(v2=SimpleNamespace(port=5001))
    assert settings({"REGISTRY_HOST": host}, own)["bind"] == bind


@pytest.mark.parametrize("port", [5000, 65536])
def test_the_port_for_v2_must_differ(port):
    with pytest.raises(SettingsError, match=r"v2\.port"):
        settings({}, config(v2=SimpleNamespace(port=port)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GUNICORN_WORKERS", "abc"),
        ("GUNICORN_WORKERS", "0"),
        ("GUNICORN_WORKERS", "-1"),
        ("GUNICORN_WORKERS", "٣"),
        ("GUNICORN_WORKERS", "9" * 5000),
        ("REGISTRY_PORT", "65536"),
        ("GUNICORN_SILENT_TIMEOUT", "1h"),
        ("GUNICORN_STALL_TIMEOUT", "0"),
        ("GUNICORN_STALL_TIMEOUT", "nan"),
        ("GUNICORN_STALL_TIMEOUT", "soon"),
        ("GUNICORN_OPTS", "--preload"),
        ("GUNICORN_OPTS", "[--preload"),
        ("GUNICORN_OPTS", "[[a]]"),
        ("GUNICORN_OPTS", "[!!int '']"),
    ],
)
def test_invalid_variables(name, value):
    with pytest.raises(SettingsError) as caught:
        settings({name: value}, config())
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_extra_options():
    assert extra_options({}) == []
    assert extra_options({"GUNICORN_OPTS": "[--threads, 4]"}) == ["--threads", "4"]
    assert extra_options({"GUNICORN_OPTS": "[--preload, --threads, 4]"}) == ["--threads", "4"]


def test_stall_timeout():
    assert stall_timeout({}) == 60
    assert stall_timeout({"GUNICORN_STALL_TIMEOUT": "1.5"}) == 1.5


def test_tls(tmp_path):
    made = make_certificate(tmp_path)
    tls = SimpleNamespace(certificate=str(made.certificate), key=str(made.key))
    found = settings({}, config(tls=tls))
    assert (found["certfile"], found["keyfile"]) == (tls.certificate, tls.key)


def test_user_and_group_only_as_root(monkeypatch):
    environ = {"GUNICORN_USER": "nobody", "GUNICORN_GROUP": "nogroup"}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = settings(environ, config())
    assert (found["user"], found["group"]) == ("nobody", "nogroup")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "user" not in settings(environ, config())


def test_no_more_connections_than_open_files(monkeypatch):
    monkeypatch.setattr(module, "_open_files", lambda: (1024, 1024))
    connections = settings({}, config())["worker_connections"]
    assert connections == connections_within(1024) == 448
    warnings = []
    server = SimpleNamespace(
        cfg=SimpleNamespace(worker_connections=connections),
        log=SimpleNamespace(warning=lambda text, *values: warnings.append(text % values)),
    )
    raise_open_files(server)
    assert len(warnings) == 1
    assert "448 connections" in warnings[0]


def test_the_limit_of_open_files_is_raised(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4128:
        pytest.skip("the hard limit here is too low to see anything raised")
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        with Serving(tmp_path) as serving:
            limits = Path(f"/proc/{serving.process.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert int(line.split()[3]) == 4128


def test_an_invalid_variable_stops_the_start_with_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"],
        cwd=ROOT,
        env={**os.environ, "GUNICORN_WORKERS": "abc"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == "v1registry: GUNICORN_WORKERS: 'abc' is not a whole number\n"


# -- the page -------------------------------------------------------------------------------------


class Recording(dict):
    """An environment that notes which variables are read."""

    def __init__(self, values=None):
        super().__init__(values or {})
        self.read = set()

    def get(self, name, default=None):
        self.read.add(name)
        return super().get(name, default)


def documented():
    """Return the table of server variables in docs/configuration.md: variable -> default."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    table = page.partition("<!-- server -->")[2].partition("<!-- end -->")[0]
    return dict(re.findall(r"^\| `(\w+)` \| .* \| ?(.*?) ?\|$", table, re.MULTILINE))


def test_the_page_lists_exactly_the_variables_that_are_read(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # GUNICORN_USER is read for root alone
    environ = Recording()
    settings(environ, config())
    assert environ.read == set(documented())


def test_the_documented_defaults_are_those_of_the_code():
    defaults = {
        name: text.strip("`") for name, text in documented().items() if text.startswith("`")
    }
    assert "GUNICORN_WORKER_CONNECTIONS" in defaults
    assert float(defaults["GUNICORN_STALL_TIMEOUT"]) == stall_timeout({})
    plain = settings({}, config())
    del defaults["GUNICORN_STALL_TIMEOUT"]  # the worker reads it, gunicorn does not
    for name, default in defaults.items():
        assert settings({name: default}, config()) == plain, name
        other = "unix:/else" if default.count(".") else "/else" if default == "-" else "7"
        assert settings({name: other}, config()) != plain, name
