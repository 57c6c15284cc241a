"""Text that may stand in a log: what clients send is escaped, what may be a secret is masked."""

from __future__ import annotations

import re

MASK = "********"

# Controls, the quote that delimits our fields, and the backslash that escapes: in latin-1 strings,
# as WSGI has them, C1 controls too. Everything beyond is escaped for terminals' sake.
_UNSAFE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
_BEYOND_ASCII = re.compile(r"[^\x20-\x7e]")

_USERINFO = re.compile(r"(?<=//)[^\s/?#\"'<>]*@")
_QUERY = re.compile(r"\?[^\s?\"'<>()]*=[^\s\"'<>()]*")
_AUTHORIZATION = re.compile(r"(authorization['\"]?\s*[:=,]\s*)[^\r\n]*", re.IGNORECASE)
_IN_TARGET = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://|//)?.*@", re.DOTALL)
_END_OF_PATH = re.compile(r"[?#]")


def escape(text: str) -> str:
    """`text` with everything but printable ASCII written as an escape, for one quoted field."""
    return _UNSAFE.sub(_escaped, text)


def one_line(text: str) -> str:
    """`text` without what a terminal or a reader of lines takes for more than a character.

    That is controls, line and paragraph separators, changes of direction, and lone surrogates.
    """
    return _BEYOND_ASCII.sub(
        lambda match: match[0] if match[0].isprintable() else _escaped(match), text
    )


def mask(text: str) -> str:
    """`text` without accounts and queries in URLs, and without values of Authorization headers."""
    text = _USERINFO.sub(f"{MASK}@", text)
    text = _QUERY.sub(f"?{MASK}", text)
    return _AUTHORIZATION.sub(rf"\g<1>{MASK}", text)


def path_of(target: str) -> str:
    """A request's target as it was sent, still percent-encoded, without account, query and fragment."""
    if target[:1] != "/" or target[:2] == "//":  # an absolute URI, or a host's name with a port
        target = _IN_TARGET.sub(rf"\g<1>{MASK}@", target)
    return _END_OF_PATH.split(target, maxsplit=1)[0]


def forget_text(error: Exception) -> None:
    """Leave of `error`'s text only what comes before the client's: `Invalid HTTP Header`, say."""
    kind, text = type(error), str(error).partition(": ")[0]
    error.__class__ = type(kind.__name__, (kind,), {"__str__": lambda _: text})


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in '"\\':
        return "\\" + character
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
