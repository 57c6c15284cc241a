"""Reading of YAML nodes into plain values.

PyYAML's own constructor drops the line of each value and duplicate keys, and cannot read only one
flavor. Anchors can turn a small file into a huge or endless value, so depth and number of nodes are
limited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from v1registry.config.environment import reference
from v1registry.config.errors import YAML_ERRORS, Problem
from v1registry.config.variables import is_link_port, link_warning

Path = tuple[str, ...]

_MOST_NODES = 50_000
_MOST_LEVELS = 40
_TAG = "tag:yaml.org,2002:"


class YamlError(ValueError):
    """The text is not valid YAML. `line` counts from 1."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Place:
    """The origin of a value: its line and, if a variable was read, its name and its text."""

    line: int
    variable: str | None = None
    text: str | None = None


def compose(text: str) -> yaml.Node | None:
    """Return the root node of one YAML document; None if the document is empty.

    :raises YamlError: wrong syntax, several documents, unknown anchors, or too many levels.
    """
    try:
        # The pure Python loader raises an exception for deep nesting. libyaml would crash.
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "unknown reason"
        raise YamlError(f"not valid YAML: {reason}", mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise YamlError(f"not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise YamlError("nested too deeply") from None
    except (ValueError, OverflowError):
        # PyYAML's scanner raises these for text such as "\\UFFFFFFFF".
        raise YamlError("not valid YAML: a character that does not exist") from None
    assert node is None or isinstance(node, yaml.Node)
    return node


class YamlReader:
    """Reads nodes into values. Collects `problems`, and the `places` of values by their path.

    A variable with a service link of a container platform is ignored, with a text in `warnings`.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.places: dict[Path, Place] = {}
        self._environ = environ
        self._scalars = yaml.constructor.SafeConstructor()
        self._nodes = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        """Return the value of a node, with the values of variables.

        An unreadable value becomes null and a problem. A file that is too large or refers to itself
        gives null and one problem.
        """
        try:
            return self._value(node, path, (), expand=True)
        except YamlError as error:
            self._problem(path, str(error), error.line)
            return None

    def pairs(self, node: yaml.MappingNode, path: Path) -> dict[str, yaml.Node]:
        """Return keys and value nodes of a mapping. Own keys take precedence over those of `<<`.

        :raises YamlError: the mapping refers to itself or is too large.
        """
        return {name: value for name, (_, value) in self._pairs(node, path, ()).items()}

    def _value(self, node: yaml.Node, path: Path, above: tuple[int, ...], *, expand: bool) -> Any:
        above = self._enter(node, above)
        line = node.start_mark.line + 1
        if expand:
            self.places[path] = Place(line)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, above, expand=expand)
        if node.tag != f"{_TAG}{'seq' if isinstance(node, yaml.SequenceNode) else 'map'}":
            raise YamlError(f"the YAML tag {node.tag} cannot be used here", line)
        if isinstance(node, yaml.SequenceNode):
            return [
                self._value(item, (*path, str(index)), above, expand=expand)
                for index, item in enumerate(node.value)
            ]
        assert isinstance(node, yaml.MappingNode)
        pairs = self._pairs(node, path, above[:-1])
        return {
            name: self._value(value, (*path, name), above, expand=expand)
            for name, (_, value) in pairs.items()
        }

    def _scalar(
        self, node: yaml.ScalarNode, path: Path, above: tuple[int, ...], *, expand: bool
    ) -> Any:
        line = node.start_mark.line + 1
        try:
            value = self._scalars.construct_object(node)
        except YAML_ERRORS:
            # Examples: `2014-99-99`, `!!int x`, `!!python/object:...`. The text may be a secret.
            reason = f"not a value of the YAML type {node.tag.removeprefix(_TAG)}"
            if not expand:
                raise YamlError(reason, line) from None
            self._problem(path, reason, line)
            return None
        if not expand or not isinstance(value, str):
            return value
        try:
            named = reference(value)
        except ValueError as error:
            self._problem(path, str(error), line)
            return None
        if named is None:
            return value
        given = self._environ.get(named.variable)
        if given is not None and is_link_port(named.variable, given):
            self.warnings.append(link_warning(named.variable, given))
            given = None
        text = named.default if given is None else given
        self.places[path] = Place(line, named.variable if given is not None else None, text)
        try:
            inner = compose(text)
            return None if inner is None else self._value(inner, path, above, expand=False)
        except YamlError as error:
            self._problem(path, f"{error} (variable {named.variable})", line)
            return None

    def _pairs(
        self, node: yaml.MappingNode, path: Path, above: tuple[int, ...]
    ) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        above = self._enter(node, above)
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == f"{_TAG}merge":
                for base in _bases(value):
                    merged.update(self._pairs(base, path, above))
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError("a key must be a word, not a list or a mapping", line)
            if key.value in own and not _same(own[key.value][1], value):
                first = own[key.value][0].start_mark.line + 1
                reason = f"is set twice, first in line {first}, with another value"
                self._problem((*path, key.value), reason, line)
            own[key.value] = (key, value)
        return merged | own

    def _enter(self, node: yaml.Node, above: tuple[int, ...]) -> tuple[int, ...]:
        line = node.start_mark.line + 1
        self._nodes += 1
        if id(node) in above:
            raise YamlError("an anchor refers to itself", line)
        if len(above) >= _MOST_LEVELS:
            raise YamlError("nested too deeply", line)
        if self._nodes > _MOST_NODES:
            raise YamlError("too large", line)
        return (*above, id(node))

    def _problem(self, path: Path, reason: str, line: int | None) -> None:
        problem = Problem(".".join(path), reason, line)
        if problem not in self.problems:  # an inherited mapping may be walked several times
            self.problems.append(problem)


def _bases(node: yaml.Node) -> list[yaml.MappingNode]:
    """Return the mappings that `<<` names, the one with the highest precedence last."""
    found = node.value[::-1] if isinstance(node, yaml.SequenceNode) else [node]
    for base in found:
        if not isinstance(base, yaml.MappingNode):
            raise YamlError("<< must name a mapping or a list of them", node.start_mark.line + 1)
    return list(found)


def _same(one: yaml.Node, other: yaml.Node) -> bool:
    # The config_s3.yml of docker-registry 0.x sets some keys twice, to the same value.
    scalars = isinstance(one, yaml.ScalarNode) and isinstance(other, yaml.ScalarNode)
    return scalars and (one.tag, one.value) == (other.tag, other.value)
