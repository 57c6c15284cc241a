"""The JSON of a v1 image, with the fields of Docker 1.12 to 17.11 (1.10 and 1.11 have fewer).

The order, the names and the omitted empty fields are those of the engines' structures. If an engine
writes an image's JSON anew, they determine every byte.
"""

from __future__ import annotations

from typing import Any

from v1registry.lib.oci.convert import gojson
from v1registry.lib.oci.convert.kinds import (
    COMMAND,
    FLAG,
    INTEGER,
    LABELS,
    SET,
    TEXT,
    TEXTS,
    TIME,
    Field,
    pointer,
    struct,
)

_HEALTH = struct(
    Field("Test", TEXTS, omitempty=True),
    Field("Interval", INTEGER, omitempty=True),
    Field("Timeout", INTEGER, omitempty=True),
    Field("StartPeriod", INTEGER, omitempty=True),
    Field("Retries", INTEGER, omitempty=True),
)

_CONFIG = struct(
    Field("Hostname", TEXT),
    Field("Domainname", TEXT),
    Field("User", TEXT),
    Field("AttachStdin", FLAG),
    Field("AttachStdout", FLAG),
    Field("AttachStderr", FLAG),
    Field("ExposedPorts", SET, omitempty=True),
    Field("Tty", FLAG),
    Field("OpenStdin", FLAG),
    Field("StdinOnce", FLAG),
    Field("Env", TEXTS),
    Field("Cmd", COMMAND),
    Field("Healthcheck", pointer(_HEALTH), omitempty=True),
    Field("ArgsEscaped", FLAG, omitempty=True),
    Field("Image", TEXT),
    Field("Volumes", SET),
    Field("WorkingDir", TEXT),
    Field("Entrypoint", COMMAND),
    Field("NetworkDisabled", FLAG, omitempty=True),
    Field("MacAddress", TEXT, omitempty=True),
    Field("OnBuild", TEXTS),
    Field("Labels", LABELS),
    Field("StopSignal", TEXT, omitempty=True),
    Field("StopTimeout", pointer(INTEGER), omitempty=True),
    Field("Shell", COMMAND, omitempty=True),
)

_IMAGE = struct(
    Field("id", TEXT, omitempty=True),
    Field("parent", TEXT, omitempty=True),
    Field("comment", TEXT, omitempty=True),
    Field("created", TIME),
    Field("container", TEXT, omitempty=True),
    Field("container_config", _CONFIG),
    Field("docker_version", TEXT, omitempty=True),
    Field("author", TEXT, omitempty=True),
    Field("config", pointer(_CONFIG), omitempty=True),
    Field("architecture", TEXT, omitempty=True),
    Field("os", TEXT, omitempty=True),
    Field("Size", INTEGER, omitempty=True),
)

V1Image = dict[str, Any]


def read(data: bytes) -> V1Image:
    """Return the image. Raise `gojson.NotJSON`, or `kinds.Mistyped` if engines refuse it."""
    value = gojson.parse(data)
    if value is not None and not isinstance(value, gojson.Object):
        raise gojson.NotJSON("not an object")
    image: V1Image = _IMAGE.read(value, _IMAGE.zero)
    return image


def write(image: V1Image) -> bytes:
    """Return the JSON that an engine would write."""
    return _IMAGE.write(image)
