"""Loading of the configuration: the file, its flavor, and the checked `Config`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from v1registry.config.check import Checker, Drivers
from v1registry.config.drivers.plugins import Available
from v1registry.config.errors import ConfigError, Problem
from v1registry.config.reader import YamlError, YamlReader, compose
from v1registry.config.schema import Config

_PACKAGE = Path(__file__).resolve().parent.parent
_INSTALLED = _PACKAGE / "_project"

#: The folder of config.yml, wsgi.py and gunicorn.conf.py. An installed wheel has copies of them.
PROJECT = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent

DEFAULT_FLAVOR = "dev"
_COMMON = "common"
_LARGEST_FILE = 1024 * 1024


class Document:
    """A configuration file, parsed but not checked.

    :raises ConfigError: the file cannot be read, or is not YAML with flavors.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        reader = YamlReader({})
        try:
            root = compose(_text(file))
            if not isinstance(root, yaml.MappingNode):
                raise YamlError("must be a mapping of flavors")
            self._flavors = reader.pairs(root, ())
        except YamlError as error:
            raise _error(file, str(error), error.line) from None
        if reader.problems:
            raise ConfigError(file, reader.problems)
        if isinstance(self._flavors.get("version"), yaml.ScalarNode):
            raise _error(
                file,
                "is a configuration file of registry 2.x (Distribution), which this server cannot"
                " read: begin with our config.yml; docs/configuration.md names the options",
            )

    @property
    def flavors(self) -> tuple[str, ...]:
        """The names of the flavors, without `common`."""
        return tuple(name for name in self._flavors if name != _COMMON)

    def config(
        self, flavor: str, environ: Mapping[str, str], drivers: Drivers | None = None
    ) -> Config:
        """Return the checked flavor. `drivers`: the available drivers; by default all installed.

        :raises ConfigError: there is no such flavor, or it is not valid.
        """
        node = self._flavors.get(flavor)
        if node is None:
            known = ", ".join(self.flavors) or "none"
            reason = f"no flavor {flavor!r} (SETTINGS_FLAVOR); there are: {known}"
            raise _error(self.file, reason)
        if not isinstance(node, yaml.MappingNode):
            line = node.start_mark.line + 1
            raise ConfigError(self.file, [Problem(flavor, "must be a mapping", line)])
        reader = YamlReader(environ)
        values = reader.value(self._with_common(flavor, node), (flavor,))
        if not isinstance(values, dict):
            raise ConfigError(self.file, reader.problems)
        checker = Checker(flavor, values, reader.places, drivers or Available(), environ)
        checker.warnings += reader.warnings
        found = checker.config(str(self.file))
        # Options for text use the unchanged variable, which need not be YAML.
        problems = [problem for problem in reader.problems if problem.key not in checker.verbatim]
        # The checker sees null for an unreadable value, and must not report it again.
        broken = {problem.key for problem in problems}
        problems += [problem for problem in checker.problems if problem.key not in broken]
        if found is None or problems:
            problems.sort(key=lambda problem: problem.line or 0)
            raise ConfigError(self.file, problems)
        return found

    def _with_common(self, flavor: str, node: yaml.MappingNode) -> yaml.MappingNode:
        """Add the values of `common` to the flavor, as docker-registry up to 0.7.3 did.

        The flavor's own and inherited values take precedence. Files of docker-registry 0.8 and later
        inherit `common` with `<<` themselves.
        """
        common = self._flavors.get(_COMMON)
        if flavor == _COMMON or not isinstance(common, yaml.MappingNode):
            return node
        merge = yaml.ScalarNode(
            "tag:yaml.org,2002:merge", "<<", node.start_mark, node.start_mark, style=None
        )
        return yaml.MappingNode(
            node.tag, [(merge, common), *node.value], node.start_mark, node.end_mark
        )


def load_config(
    path: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    flavor: str | None = None,
    drivers: Drivers | None = None,
) -> Config:
    """Return the checked configuration of the chosen flavor.

    `path` and `flavor` take precedence over DOCKER_REGISTRY_CONFIG and SETTINGS_FLAVOR of `environ`.

    :raises ConfigError: the file is missing or not valid. The error lists all problems.
    """
    document = Document(find(environ) if path is None else Path(path))
    return document.config(flavor or chosen_flavor(environ), environ, drivers)


def chosen_flavor(environ: Mapping[str, str]) -> str:
    """Return the flavor in SETTINGS_FLAVOR, or `dev`."""
    return environ.get("SETTINGS_FLAVOR") or DEFAULT_FLAVOR


def find(environ: Mapping[str, str]) -> Path:
    """Return the file that DOCKER_REGISTRY_CONFIG names, or the config.yml of v1registry.

    A relative name is searched for in `config/`, as in docker-registry 0.x, and then in the working
    directory.

    :raises ConfigError: there is no such file.
    """
    name = environ.get("DOCKER_REGISTRY_CONFIG")
    if not name:
        return PROJECT / "config.yml"
    if os.path.isabs(name):
        return Path(name)
    places = [PROJECT / "config" / name, Path.cwd() / "config" / name, Path.cwd() / name]
    for place in places:
        if place.is_file():
            return place
    folders = ", ".join(dict.fromkeys(str(place.parent) for place in places))
    raise _error(name, f"no such file in {folders} (DOCKER_REGISTRY_CONFIG)")


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise _error(file, f"cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST_FILE:
        raise _error(file, "too large for a configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _error(file, "not valid YAML: not UTF-8") from None


def _error(file: object, reason: str, line: int | None = None) -> ConfigError:
    """Return an error about the whole file."""
    return ConfigError(file, [Problem("", reason, line)])
