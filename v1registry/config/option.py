"""The class of an option, and tables of options.

A table is a class. Each field is an option, and the docstring below the field is its help:

    @table
    class LimitOptions:
        json: int = option("size", "4MiB", at_least=1024)
        \"\"\"The largest request body other than a layer.\"\"\"

A validation library (pydantic, msgspec, voluptuous, jsonschema) would replace only the kinds. The
lines of the file, the unchanged text of variables, former names of keys and errors that quote no
secret would remain code of our own.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

from v1registry.config.kinds import KINDS

_LARGEST = 2**60

Table = TypeVar("Table")


@dataclass(frozen=True, slots=True)
class Option:
    """One key of a flavor.

    `key` is dotted within the flavor. `default` has the form of the file. `variable` is the
    environment variable in the shipped config.yml. `outside`: the variable also has an effect if
    the file does not name the key, as in docker-registry 0.x. `formerly`: the key's name in older
    releases of docker-registry 0.x, used if the key is missing. All fields are plain data, so that
    a storage driver can declare its options without an import: `Option(**fields)`.
    """

    key: str
    kind: str
    help: str
    default: Any = None
    variable: str | None = None
    secret: bool = False
    required: bool = False
    choices: tuple[str, ...] = ()
    at_least: int = 0
    outside: bool = False
    formerly: str | None = None

    def check(self, value: Any) -> Any:
        """Return the value in its final type, e.g. a size in bytes. Null becomes the default.

        :raises ValueError: the value is not valid.
        """
        if value is None:
            if self.required:
                default = str(self.default)
                shown = default.lower() if isinstance(self.default, bool) else default
                raise ValueError(f"must be set, as in `{self.key}: {shown}`")
            value = self.default
            if value is None:
                return None
        if self.kind == "choice":
            if not (isinstance(value, str) and value.lower() in self.choices):
                raise ValueError(f"must be one of {', '.join(self.choices)}")
            return value.lower()
        found = KINDS[self.kind](value)
        if isinstance(found, int) and not isinstance(found, bool):
            if found < self.at_least:
                raise ValueError(f"must be at least {self.at_least}")
            if found > _LARGEST:
                raise ValueError("must be smaller")
        return found


def option(kind: str, default: Any = None, /, **members: Any) -> Any:
    """Declare a field of a table: an option with these members of `Option`.

    The variable is the key in capital letters unless `variable` names another one or none.
    """
    members |= {"kind": kind, "default": default}
    return dataclasses.field(repr=not members.get("secret"), metadata=members)


def group(members: type, *, variables: str | None = None) -> Any:
    """Declare a field of a table: a group with the options of another table.

    `variables` is the beginning of their variables; by default the group's name.
    """
    return dataclasses.field(metadata={"table": members, "variables": variables})


@dataclass_transform(frozen_default=True, field_specifiers=(option, group))
def table(cls: type[Table]) -> type[Table]:
    """Make a class a table of options. Its objects hold the checked values of one flavor."""
    return dataclass(frozen=True)(cls)


def options_of(*tables: type, helps: bool = False) -> Iterator[Option]:
    """Iterate over the options of tables and of their groups. `helps`: with the help of each."""
    for cls in tables:
        yield from _options(cls, "", "", helps=helps)


def _options(cls: Any, prefix: str, variables: str, *, helps: bool) -> Iterator[Option]:
    found = _docstrings(cls) if helps else {}
    for field in dataclasses.fields(cls):
        members = field.metadata
        key, variable = f"{prefix}{field.name}", f"{variables}{field.name}".upper()
        if "table" in members:
            beginning = members["variables"] or variable
            yield from _options(members["table"], f"{key}.", f"{beginning}_", helps=helps)
        elif members:
            yield Option(
                key, **{"variable": variable, "help": found.get(field.name, ""), **members}
            )


def filled(cls: type[Table], values: Mapping[str, Any], prefix: str = "", **others: Any) -> Table:
    """Return a table with the values of its options, by their keys. `others`: its other fields."""
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if "table" in field.metadata:
            members = field.metadata["table"]
            others[field.name] = filled(members, values, f"{prefix}{field.name}.")
        elif field.metadata:
            others[field.name] = values[f"{prefix}{field.name}"]
    return cls(**others)


def _docstrings(cls: type) -> dict[str, str]:
    """Return the docstrings below the fields of a class. Python itself drops them."""
    found = {}
    for owner in cls.__mro__[:-1]:
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(tree, ast.ClassDef)
        for above, below in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(above, ast.AnnAssign) and isinstance(below, ast.Expr):
                found[ast.unparse(above.target)] = " ".join(ast.literal_eval(below.value).split())
    return found
