"""The recordings of real engines as Python values; see tests/fixtures/recordings/README.md."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "fixtures" / "recordings"
VERSIONS = ("1.0.1", "1.5.0", "1.8.3", "1.12.6")

Pairs = list[tuple[str, str]]

_BODY = re.compile(
    r"[<>] \((request|response) body: (\d+) bytes, framing=([a-z-]+)(?:, (\d+) chu.*)?\)"
)
_ELIDED = re.compile(r"\[body (\d+) bytes, elided; first 24: b(['\"]).*\2\]")


@dataclass
class Message:
    """A request or an answer. `body` is None where a .txt recording leaves it out.

    `chunks` is their number; which bytes stood in which is not recorded.
    """

    line: str
    headers: Pairs
    framing: str = "none"
    chunks: int = 0
    body: bytes | None = None
    size: int = 0

    def header(self, name: str) -> str | None:
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return None


@dataclass
class Exchange:
    """One request of an engine, and the recorded response."""

    request: Message
    answer: Message
    notes: list[str] = field(default_factory=list)  # lines `!!` that stand before it

    @property
    def method(self) -> str:
        return self.request.line.split(" ")[0]

    @property
    def path(self) -> str:
        return self.request.line.split(" ")[1]

    @property
    def status(self) -> int:
        return int(self.answer.line.split(" ")[1])


def names(pattern: str) -> list[str]:
    """File names that match, sorted."""
    return sorted(path.name for path in FOLDER.glob(pattern))


def read(name: str) -> list[Exchange]:
    """The exchanges of one file, in its order."""
    path = FOLDER / name
    if name.endswith(".jsonl"):
        return [_exchange(json.loads(line)) for line in path.read_text().splitlines()]
    return list(_from_text(path.read_bytes().decode()))


def _exchange(record: dict) -> Exchange:
    return Exchange(_message(record["request"]), _message(record["response"]))


def _message(record: dict) -> Message:
    body = base64.b64decode(record["body_base64"])
    headers = [(name, value) for name, value in record["headers"]]
    chunks = record.get("chunks") or 0
    return Message(record["line"], headers, record["framing"], chunks, body, len(body))


def _from_text(text: str) -> Iterator[Exchange]:
    """A .txt recording: `> ` and `< ` heads, bodies indented by 4, `###` before each exchange."""
    notes: list[str] = []
    request: Message | None = None
    answer: Message | None = None
    body: list[str] | None = None
    for line in [*text.split("\n"), "###"]:
        if line.startswith("    ") and body is not None:
            body.append(line[4:])
            continue
        if body is not None:
            # a body ends with the first line that is not indented
            message = answer or request
            assert message is not None
            _set_body(message, body)
            body = None
        if line.startswith(("###", "!!", "$ ", "# ", "% ")):
            if request is not None and answer is not None:
                yield Exchange(request, answer, notes)
                notes = []
            request = answer = None
            if line.startswith("!!"):
                notes.append(line)
        elif match := _BODY.match(line):
            message = request if match[1] == "request" else answer
            assert message is not None
            message.size, message.framing = int(match[2]), match[3]
            message.chunks = int(match[4] or 0)
            body = []
        elif line.startswith("> ") and not line.startswith("> ("):
            request = _head(request, line[2:])
        elif line.startswith("< ") and not line.startswith("< ("):
            answer = _head(answer, line[2:])


def _head(message: Message | None, line: str) -> Message:
    if message is None:
        return Message(line, [])
    name, _, value = line.partition(": ")
    message.headers.append((name.rstrip(":"), value))
    return message


def _set_body(message: Message, lines: list[str]) -> None:
    text = "\n".join(lines)
    if _ELIDED.fullmatch(text.strip()):
        message.body = None
        return
    data = text.encode()
    assert len(data) == message.size, (message.line, message.size, data)
    message.body = data
