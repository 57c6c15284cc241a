"""The command `v1registry`, run in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml

from tests.config.texts import BASE, NO_SUCH_DRIVER
from v1registry.commands.serve import serving_environ
from v1registry.config.load import PROJECT


@pytest.fixture
def run(tmp_path):
    """Call the command in an empty folder: `run(*arguments, **environ)`."""

    def run(*arguments, **environ):
        base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
        return subprocess.run(
            [sys.executable, "-m", "v1registry", *arguments],
            cwd=tmp_path,
            env=base | environ,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_config_shows_the_effective_values(run):
    done = run("config", SETTINGS_FLAVOR="local", STORAGE_PATH="/srv/x", LIMITS_LAYER="1GB")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"# flavor local of {PROJECT}/config.yml\n")
    shown = yaml.safe_load(done.stdout)
    assert shown["storage_path"] == "/srv/x"
    assert shown["limits"]["layer"] == 1_000_000_000


def test_check_of_a_valid_file_warns_on_standard_error(run, tmp_path):
    (tmp_path / "a.yml").write_text(BASE + "    bugsnag: key\n")
    done = run("config", "--check", "a.yml")
    assert (done.returncode, done.stdout) == (0, "a.yml: flavor dev is fine\n")
    assert done.stderr.startswith("v1registry: warning: dev.bugsnag: has no effect")


def test_check_lists_all_errors(run, tmp_path):
    (tmp_path / "a.yml").write_text("prod: {standalone: true, storage: azureblob, x: 1}\n")
    done = run("config", "--check", "a.yml", "--flavor", "prod")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"v1registry: a.yml:1: prod.storage: driver 'azureblob' {NO_SUCH_DRIVER}",
        "v1registry: a.yml:1: prod.x: unknown key",
    ]


def test_check_all_flavors(run, tmp_path):
    (tmp_path / "a.yml").write_text(BASE + "prod: {standalone: true}\n")
    done = run("config", "--check", "a.yml", "--all")
    assert (done.returncode, done.stdout) == (1, "a.yml: flavor dev is fine (chosen)\n")
    assert done.stderr == "v1registry: a.yml: prod.storage: must be set, as in `storage: local`\n"
    needed = {"STORAGE_PATH": "/srv/x", "AWS_BUCKET": "b", "OS_AUTH_URL": "https://k/v3"}
    needed |= {"OS_CONTAINER": "c", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_TENANT_NAME": "t"}
    assert run("config", "--all", **needed).returncode == 0


@pytest.mark.parametrize(
    ("text", "environ", "error"),
    [
        ("dev: [", {}, ":1: not valid YAML: "),
        ("prod: {}", {}, ": no flavor 'dev' (SETTINGS_FLAVOR); there are: prod"),
        (BASE + "    x: 1\n", {}, ":5: dev.x: unknown key"),
        (BASE, {"GUNICORN_WORKERS": "many"}, "GUNICORN_WORKERS: 'many' is not a whole number"),
        (BASE, {"GUNICORN_OPTS": "{"}, "GUNICORN_OPTS: not YAML: "),
    ],
)
def test_serve_reports_errors_before_gunicorn_starts(run, tmp_path, text, environ, error):
    (tmp_path / "a.yml").write_text(text)
    done = run("serve", DOCKER_REGISTRY_CONFIG=str(tmp_path / "a.yml"), **environ)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("v1registry: ")
    assert error in line


def test_serve_becomes_gunicorn_with_our_settings(run, tmp_path):
    # gunicorn must not load a wsgi.py in the working directory instead of ours
    (tmp_path / "wsgi.py").write_text("raise SystemExit('somebody else')")
    done = run(
        "serve",
        "--print-config",
        "--workers",
        "3",
        STORAGE_PATH=str(tmp_path / "store"),
        REGISTRY_PORT="5999",
        GUNICORN_OPTS="[--threads, 4]",
    )
    assert done.returncode == 0, done.stderr
    settings = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    found = {name.strip(): value.strip() for name, value in settings.items()}
    assert found["bind"] == "['0.0.0.0:5999']"
    assert (found["workers"], found["threads"]) == ("3", "4")
    assert found["chdir"] == str(tmp_path)
    assert found["wsgi_app"] == "wsgi:application"
    assert "warning: dev.storage_path" in done.stderr


def test_serving_environ_puts_the_project_first_and_the_folder_last(tmp_path):
    environ = serving_environ({"PYTHONPATH": "/a", "X": "y"}, tmp_path)
    assert environ["PYTHONPATH"].split(os.pathsep) == [str(PROJECT), "/a", str(tmp_path)]
    assert (environ["X"], environ["PYTHONSAFEPATH"]) == ("y", "1")
