"""The metadata of a tag: what docker-registry 0.x takes from the User-Agent of a push."""

from __future__ import annotations

import re
import time
from typing import Any

Metadata = dict[str, Any]

DEFAULTS: Metadata = {
    "last_update": None,
    "docker_version": None,
    "docker_go_version": None,
    "arch": "amd64",
    "os": "linux",
    "kernel": None,
}

# word of the User-Agent -> (name in the metadata, whether it is converted to lower case)
_AGENT_WORDS = {
    "docker": ("docker_version", False),
    "go": ("docker_go_version", False),
    "arch": ("arch", True),
    "kernel": ("kernel", True),
    "os": ("os", True),
}
_AGENT_WORD = re.compile(r"([^\s/]+)/(\S+)")


def metadata_of(agent: str) -> Metadata:
    """Return a tag's metadata from a User-Agent; `last_update` in seconds since the epoch."""
    metadata: Metadata = {"last_update": int(time.time())}
    for word, value in _AGENT_WORD.findall(agent):
        if word in _AGENT_WORDS:
            name, lower = _AGENT_WORDS[word]
            metadata[name] = value.lower() if lower else value
    return metadata
