"""The generated tables of docs/configuration.md.

`python -m v1registry.config.document` writes them into the file. A test compares both.
"""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from v1registry.config import legacy
from v1registry.config.drivers import STORAGE, TABLES
from v1registry.config.load import PROJECT
from v1registry.config.option import Option, options_of
from v1registry.config.schema import Config

_PAGE = PROJECT / "docs" / "configuration.md"


def default(option: Option) -> str:
    """Return the default as YAML; empty without a default."""
    if option.default is None:
        return ""
    dumped = yaml.safe_dump(option.default, default_flow_style=True, width=1000)
    return dumped.removesuffix("\n").removesuffix("\n...")


def tables() -> dict[str, str]:
    """Return the tables by the NAME of their place in the page: `<!-- NAME -->` to `<!-- end -->`."""
    return {
        "storage": table([STORAGE, *driver_options("local")]),
        **{name: table(driver_options(name)) for name in ("s3", "swift", "gcs", "glance")},
        "options": table(options_of(Config, helps=True)),
        "dead": _unused(),
    }


def driver_options(name: str) -> Iterable[Option]:
    """Return the options of one of our drivers, with the help of each."""
    return options_of(*TABLES[name], helps=True)


def page(text: str) -> str:
    """Return the page with its tables replaced."""
    for name, table in tables().items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}{table}{end}{after}"
    return text


def table(options: Iterable[Option]) -> str:
    """Return a Markdown table of options."""
    lines = ["| Option | Kind | Default | Variable | |", "|---|---|---|---|---|"]
    for option in options:
        kind = ", ".join(option.choices) if option.choices else option.kind
        if option.required:
            kind += ", required"
        cells = [_code(option.key), kind, _code(default(option)), _code(option.variable or "")]
        lines.append(f"| {' | '.join(cells)} | {option.help} |")
    return "\n".join(lines) + "\n"


def _unused() -> str:
    lines = ["| Key of 0.x | In this version |", "|---|---|"]
    lines += [f"| `{unused.key}` | {unused.replaced_by} |" for unused in legacy.UNUSED_KEYS]
    lines += [f"| `{name}` (variable) | {text} |" for name, text in legacy.UNUSED_VARIABLES.items()]
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    _PAGE.write_text(page(_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
