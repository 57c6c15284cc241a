"""Drivers of other packages: one that pip installs, and broken ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import raw
from tests.faults.engine import Engine, make_image, make_tar, squeeze
from tests.live_server import ROOT, Server, StartError
from v1registry.config import ConfigError, load_config
from v1registry.storage import Storage, plugins
from v1registry.storage.errors import Refused
from v1registry.storage.loading import load

CONFIG = """\
common: &common
    standalone: true
    sqlite_path: {path}
    sqlite_wait: {wait}
local: {{<<: *common, storage: {driver}}}
files: {{<<: *common, storage: local, storage_path: /srv/registry}}
"""
GOOD = "OPTIONS = ()\ndef make(options, run_in_thread): {}\n"


@pytest.fixture
def config(tmp_path: Path):
    """`config(wait=...)` writes a file whose flavor `local` chooses the example driver."""

    def config(path: str = "/srv/x.sqlite", wait: str = "5s", driver: str = "sqlite") -> Path:
        file = tmp_path / "config.yml"
        file.write_text(CONFIG.format(path=path, wait=wait, driver=driver))
        return file

    return config


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`package(code)` installs a package with this module as the driver `nos`."""

    def package(code: str, name: str = "nos-driver", driver: str = "nos") -> None:
        folder = tmp_path / name
        module = f"driver_{os.urandom(6).hex()}"  # none that was imported before
        information = folder / f"{name.replace('-', '_')}-2.1.dist-info"
        information.mkdir(parents=True)
        (folder / f"{module}.py").write_text(code)
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.1\n"
        )
        (information / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{driver} = {module}\n")
        monkeypatch.syspath_prepend(folder)

    return package


def command(*words: object, path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "v1registry", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(path), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package of docs/drivers.md and write the flavor of that page."""
    text = (ROOT / "docs" / "drivers.md").read_text()

    def block(kind: str, number: int = 0) -> str:
        return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[number]

    folder = tmp_path_factory.mktemp("page")
    source = folder / "v1registry-nos"
    (source / "v1registry_nos").mkdir(parents=True)
    (source / "pyproject.toml").write_text(block("toml"))
    (source / "v1registry_nos" / "__init__.py").write_text(block("python"))
    (source / "v1registry_nos" / "storage.py").write_text(block("python", 1))
    options = ("-q", "--no-index", "--no-deps", "--no-build-isolation", "--target", folder / "to")
    command = [sys.executable, "-m", "pip", "install", *options, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    flavors = (ROOT / "config.yml").read_text() + "\n" + block("yaml")
    (folder / "config.yml").write_text(flavors)
    return folder


# -- an installed one -----------------------------------------------------------------------------


def test_it_serves_pushes_and_pulls_with_two_processes(example_driver: Path, tmp_path: Path):
    text = CONFIG.format(path=tmp_path / "store.sqlite", wait="20s", driver="SQLite")
    image = make_image("plugin", squeeze(make_tar(1, 3_000_000), 0))
    env = {"PYTHONPATH": str(example_driver)}
    with Server(tmp_path / "unused", workers=2, config=text, env=env) as server:
        Engine(server, "team/plugin").push([image], "v1")
        assert Engine(server, "team/plugin").pull("v1") == {image.id: (image.json, image.layer)}
        path = f"/v1/images/{image.id}/layer"
        part = raw.get(server, path, headers={"Range": "bytes=2000000-2000999"})
        assert (part.status, part.body) == (206, image.layer[2_000_000:2_001_000])
        assert raw.get(server, "/v1/_status").status == 200
        assert raw.get(server, f"/v1/images/{image.id}/files").status == 200
        assert Engine(server, "team/plugin").ask("DELETE", "/v1/repositories/team/plugin/")
    assert not (tmp_path / "unused").exists()


def test_the_command_checks_and_shows_it(example_driver: Path, config):
    variables = {"DOCKER_REGISTRY_CONFIG": str(config()), "SETTINGS_FLAVOR": "local"}
    shown = command("config", path=example_driver, **variables)
    assert shown.stdout.splitlines()[2:5] == [
        *("storage: sqlite", "sqlite_path: /srv/x.sqlite", "sqlite_wait: 5"),
    ], shown.stderr
    checked = command("config", "--check", config(wait="soon"), "--all", path=example_driver)
    assert checked.returncode == 1
    assert "4: local.sqlite_wait: must be a time such as" in checked.stderr
    assert "flavor files is fine" in checked.stdout  # `common` holds options of another's driver


def test_the_command_lists_drivers_and_options(example_driver: Path):
    listed = command("drivers", path=example_driver).stdout.splitlines()
    assert "sqlite       v1registry-sqlite 1.0" in listed
    assert any(line.startswith("s3 ") for line in listed)
    table = command("drivers", "SQLite", path=example_driver).stdout
    assert (
        "| `sqlite_path` | path, required | `/var/lib/v1registry.sqlite` | `SQLITE_PATH` |" in table
    )
    ours = command("drivers", "s3", path=example_driver).stdout
    assert ours.count("\n") > 10
    assert "| `s3_region` | text |  | `AWS_REGION` | The bucket's region. |\n" in ours
    unknown = command("drivers", "tape", path=example_driver)
    assert unknown.returncode == 1
    assert "no driver 'tape': there are local, " in unknown.stderr


def test_where_it_is_not_installed(tmp_path: Path, config):
    with pytest.raises(ConfigError, match=r"driver 'sqlite' is not available .* \(available: file"):
        load_config(config(), {}, "local")
    with pytest.raises(ConfigError, match=r"files\.sqlite_wait: unknown key"):
        load_config(config(), {}, "files")


# -- broken ones ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "import nos_sdk_that_is_missing",
            "cannot be loaded: ModuleNotFoundError: No module named 'nos_sdk_that_is_missing'",
        ),
        ("OPTIONS = (", "cannot be loaded: SyntaxError: "),
        ("make = print", "has no OPTIONS (driver_"),
        ("pass", "has no OPTIONS and no make (driver_"),
        ("OPTIONS = 5; make = print", "declares its options wrongly: 'int' object is not iterable"),
        ("OPTIONS = [{}]; make = print", "declares its option 1 wrongly: "),
        ("OPTIONS = ['key']; make = print", "declares its option 1 wrongly: "),
        (
            "OPTIONS = [{'key': 'nos_x', 'kind': 'txt', 'help': ''}]; make = print",
            "declares its option nos_x wrongly: its kind 'txt' is not one of boolean, ",
        ),
        (
            "OPTIONS = [{'key': 'nos_x', 'kind': 'text', 'help': '', 'secrets': 1}]; make = print",
            "declares its option nos_x wrongly: ",
        ),
        (
            "OPTIONS = [{'key': 'loglevel', 'kind': 'text', 'help': ''}]; make = print",
            "declares its option loglevel wrongly: its key is that of an option of every store",
        ),
        (
            "OPTIONS = [{'key': 'a.b', 'kind': 'text', 'help': ''}]; make = print",
            "declares its option a.b wrongly: its key must consist of lowercase letters",
        ),
        (
            "OPTIONS = [{'key': 'n', 'kind': 'number', 'help': '', 'default': 'x'}]; make = print",
            "declares its option n wrongly: its default must be a whole number",
        ),
    ],
)
def test_a_driver_that_cannot_be_used(tmp_path: Path, package, code: str, reason: str):
    package(code)
    file = tmp_path / "config.yml"
    file.write_text("dev: {standalone: true, storage: nos, nos_bucket: b}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    [problem] = caught.value.problems
    assert problem.key == "dev.storage"
    assert problem.reason.startswith(f"driver 'nos' of nos-driver 2.1 {reason}")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import nos_sdk_that_is_missing", "cannot be made: ModuleNotFoundError: No module named "),
        ("return options['x']", "cannot be made: KeyError: 'x'"),
        ("return None", "is not a v1registry.storage.Storage but a NoneType"),
    ],
)
def test_a_driver_that_cannot_be_made(package, body: str, reason: str):
    package(GOOD.format(body))
    with pytest.raises(Refused, match=r"driver 'nos' of nos-driver 2\.1 ") as caught:
        load({"storage": "nos"}, lambda function: function())
    assert reason in str(caught.value)


def test_a_broken_driver_does_not_affect_others(tmp_path: Path, package):
    package("import nos_sdk_that_is_missing")
    file = tmp_path / "config.yml"
    file.write_text("dev: {standalone: true, storage: local, storage_path: /srv/x}\n")
    assert load_config(file, {}).warnings == ()


def test_the_start_fails_with_one_clear_line(tmp_path: Path, package):
    package(GOOD.format("raise ValueError('nos_bucket: no such bucket')"))
    text = "local: {standalone: true, storage: nos}\n"
    env = {"PYTHONPATH": str(tmp_path / "nos-driver")}
    with pytest.raises(StartError) as caught:
        Server(tmp_path / "unused", config=text, env=env)
    assert "v1registry: driver 'nos' of nos-driver 2.1 cannot be made" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_two_packages_with_one_name(tmp_path: Path, package):
    package(GOOD.format("pass"))
    package(GOOD.format("pass"), name="other-nos")
    reason = r"driver 'nos' is in (nos-driver 2.1|other-nos 2.1) and .*: uninstall all but one"
    with pytest.raises(Refused, match=reason):
        load({"storage": "nos"}, lambda function: function())


def test_our_own_drivers_cannot_be_replaced(tmp_path: Path, package):
    package("raise SystemExit('imported')", driver="memory")
    file = tmp_path / "config.yml"
    file.write_text("dev: {standalone: true, storage: memory}\n")
    texts = load_config(file, {}).warnings
    assert "dev.storage: 'memory' is our own driver; that of nos-driver 2.1 is not used" in texts


def test_the_package_in_docs_is_installed_and_configured(page: Path) -> None:
    assert re.search(
        r"^nos +v1registry-nos 1\.0$", command("drivers", path=page / "to").stdout, re.M
    )
    assert (
        "| `nos_timeout` | duration | `30s` |" in command("drivers", "nos", path=page / "to").stdout
    )
    chosen = {"SETTINGS_FLAVOR": "nos", "DOCKER_REGISTRY_CONFIG": str(page / "config.yml")}
    shown = command("config", path=page / "to", NOS_KEY="k", NOS_SECRET="s", **chosen)
    assert shown.returncode == 0, shown.stderr
    assert "nos_bucket: images\n" in shown.stdout
    assert "nos_access_key: k\n" in shown.stdout
    # the page's class is a skeleton: it is made, and misses the methods of the contract
    served = command("serve", path=page / "to", NOS_KEY="k", NOS_SECRET="s", **chosen)
    assert served.returncode != 0
    assert re.search(r"nos.*abstract", served.stderr + served.stdout), served.stderr


def test_the_page_names_all_of_the_contract() -> None:
    page = (ROOT / "docs" / "drivers.md").read_text()
    contract = page.partition("## The contract")[2].partition("## Test it")[0]
    named = set(re.findall(r"`(\w+)[ `]", contract))
    assert {name for name in vars(Storage) if not name.startswith("_")} <= named
