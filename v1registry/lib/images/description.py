"""What an image JSON says about the image, for people. Clients sent it, so any value may have any type."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from v1registry.lib import documents
from v1registry.lib.running import collector_off, sorted_in_steps

_SHELL = "/bin/sh -c "
_NO_RUN = "#(nop)"

_NAME = 40  # characters of `os` and of `architecture`
_LONGEST_INSTRUCTION = 12  # characters: HEALTHCHECK has 11


@dataclass(frozen=True, slots=True)
class ImageDescription:
    """The members of an image JSON as texts; "" and empty lists for those that are missing.

    `created` is in seconds since the epoch. `step` and `arguments` are the line of a Dockerfile that
    made the layer. `size` is that of the unpacked layer in bytes.
    """

    created: float | None
    author: str
    comment: str
    docker_version: str
    platform: str
    step: str
    arguments: str
    size: int | None
    command: str
    entrypoint: str
    user: str
    working_dir: str
    environment: list[str]
    ports: list[str]
    volumes: list[str]
    labels: list[tuple[str, str]]


@collector_off()
def describe(document: bytes) -> ImageDescription:
    """Return the description of an image. Values of the wrong type count as missing."""
    try:
        value = documents.load(document)
    except ValueError:
        value = None
    value = _object(value)
    config, made_in = _object(value.get("config")), _object(value.get("container_config"))
    step, arguments = _step(made_in.get("Cmd"))
    size = value.get("Size")
    labels = _object(config.get("Labels"))
    return ImageDescription(
        created=_seconds(value.get("created")),
        author=_text(value.get("author")),
        comment=_text(value.get("comment")),
        docker_version=_text(value.get("docker_version")),
        platform=_platform(value),
        step=step,
        arguments=arguments,
        size=size if isinstance(size, int) and 0 <= size < 2**63 else None,
        command=_command(config.get("Cmd")),
        entrypoint=_command(config.get("Entrypoint")),
        user=_text(config.get("User")),
        working_dir=_text(config.get("WorkingDir")),
        environment=_texts(config.get("Env")),
        ports=sorted_in_steps(list(_object(config.get("ExposedPorts")))),
        volumes=sorted_in_steps(list(_object(config.get("Volumes")))),
        labels=sorted_in_steps([(name, _text(label)) for name, label in labels.items()]),
    )


def _step(command: Any) -> tuple[str, str]:
    """Return a line of a Dockerfile: its instruction, and the rest."""
    line = " ".join(_texts(command)).strip()
    if not line.startswith(_SHELL):
        return ("RUN", line) if line else ("", "")
    line = line.removeprefix(_SHELL).strip()
    if not line.startswith(_NO_RUN):
        return "RUN", line
    word, _, rest = line.removeprefix(_NO_RUN).strip().partition(" ")
    if len(word) <= _LONGEST_INSTRUCTION and re.fullmatch("[A-Z]+", word):
        return word, rest.strip()
    return "", f"{word} {rest}".strip()


def _platform(value: dict[str, Any]) -> str:
    """Return `linux/amd64`; engines take an image without these members for one of theirs."""
    system, architecture = _text(value.get("os")), _text(value.get("architecture"))
    return f"{system[:_NAME] or 'linux'}/{architecture[:_NAME] or 'amd64'}"


def _command(value: Any) -> str:
    """Return a command in the exec form of a Dockerfile."""
    words = _texts(value)
    return json.dumps(words, ensure_ascii=False) if words else ""


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):  # engines accept one text for a list of one
        return [_text(value)] if value else []
    return [_text(one) for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _object(value: Any) -> dict[str, Any]:
    """Return an object with names that can be encoded in UTF-8."""
    if not isinstance(value, dict):
        return {}
    return {_text(name): member for name, member in value.items()}


def _text(value: Any) -> str:
    """Return a text without lone surrogates, which cannot be encoded in UTF-8."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _seconds(text: Any) -> float | None:
    """Return a time; None for another text, and for the zero time of Go."""
    try:
        found = datetime.fromisoformat(text)
        seconds = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None
