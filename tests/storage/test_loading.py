"""Loading a driver by its name, and the error if its library is missing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from typing import Any

import pytest

from tests.live_server import ROOT
from v1registry.config.drivers import DRIVERS
from v1registry.storage import loading
from v1registry.storage.memory import MemoryStorage

EXTRAS = {name: driver.extra for name, driver in loading._DRIVERS.items() if driver.extra}

#: Some drivers choose their library by their options.
VARIANTS = [
    *((name, {}) for name in EXTRAS),
    ("gcs", {"gs_access_key": "GOOG1", "gs_secret_key": "hush"}),
]

#: As on a machine where nothing but requirements.txt is installed.
_LOAD = """\
import json, sys
absent, options = json.loads(sys.argv[1])

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent)
from v1registry.storage import errors, loading
try:
    loading.load(options, lambda call, *arguments: call(*arguments))
except errors.Refused as error:
    print(error)
"""


def plain() -> set[str]:
    """Return the distributions in requirements.txt, in lower case."""
    text = (ROOT / "requirements.txt").read_text()
    return {name.lower() for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}


def absent() -> list[str]:
    """Return the packages that only other distributions install."""
    kept = plain()
    return [
        package
        for package, owners in packages_distributions().items()
        if package != "v1registry" and not kept & {owner.lower() for owner in owners}
    ]


def defaults(driver: str) -> dict[str, Any]:
    return {option.key: option.check(option.default) for option in DRIVERS[driver]}


def test_each_driver_has_options_and_a_module() -> None:
    assert set(loading._DRIVERS) == set(DRIVERS)


def test_an_unknown_driver_name() -> None:
    with pytest.raises(ValueError, match="no storage driver is named 'nothing'"):
        loading.load({"storage": "nothing"}, lambda call: call())


@pytest.mark.parametrize(
    ("driver", "chosen"), VARIANTS, ids=[f"{name}-{len(chosen)}" for name, chosen in VARIANTS]
)
def test_a_missing_library_names_the_requirements_file(
    driver: str, chosen: Mapping[str, Any]
) -> None:
    options = {"storage": driver, **defaults(driver), **chosen}
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, json.dumps([absent(), options])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    extra = EXTRAS[driver]
    assert re.search(rf"^storage: {driver} needs [\w.]+, which is not installed: ", done.stdout)
    assert f"pip install -r requirements-{extra}.txt (" in done.stdout


@pytest.mark.parametrize("extra", sorted(set(EXTRAS.values())))
def test_each_requirements_file_pins_its_extra(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = (ROOT / f"requirements-{extra}.txt").read_text()
    for requirement in project["optional-dependencies"][extra]:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        others = re.findall(r"^-r (\S+)", pinned, re.MULTILINE)
        texts = [pinned, *((ROOT / other).read_text() for other in others)]
        assert any(re.search(rf"^{name[0]}==", text, re.MULTILINE) for text in texts), requirement


def test_other_drivers_need_no_extra() -> None:
    options = {"storage": "memory", **defaults("memory")}
    assert isinstance(loading.load(options, lambda call: call()), MemoryStorage)
    assert set(loading._DRIVERS) - set(EXTRAS) == {"local", "file", "memory"}
