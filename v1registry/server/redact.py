"""Escaping of client text, and masking of secrets, for the logs."""

from __future__ import annotations

import re

MASK = "********"

# Control characters, the quote that delimits a field, and the backslash that escapes. WSGI strings
# are latin-1, so C1 control characters occur too. Other non-ASCII characters can confuse a terminal.
_UNSAFE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
_BEYOND_ASCII = re.compile(r"[^\x20-\x7e]")

_USERINFO = re.compile(r"(?<=//)[^\s/?#\"'<>]*@")
_QUERY = re.compile(r"\?[^\s?\"'<>()]*=[^\s\"'<>()]*")
_AUTHORIZATION = re.compile(r"(authorization['\"]?\s*[:=,]\s*)[^\r\n]*", re.IGNORECASE)
_IN_TARGET = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://|//)?.*@", re.DOTALL)
_END_OF_PATH = re.compile(r"[?#]")


def escape(text: str) -> str:
    """Return `text` for one quoted field: all but printable ASCII is escaped."""
    return _UNSAFE.sub(_escaped, text)


def one_line(text: str) -> str:
    """Return `text` with every character escaped that is not printable.

    These are control characters, line and paragraph separators, changes of the writing direction,
    and lone surrogates.
    """
    return _BEYOND_ASCII.sub(
        lambda match: match[0] if match[0].isprintable() else _escaped(match), text
    )


def mask(text: str) -> str:
    """Return `text` with accounts and queries in URLs and values of Authorization headers masked."""
    text = _AUTHORIZATION.sub(rf"\g<1>{MASK}", text)  # first: it may begin inside a query
    text = _USERINFO.sub(f"{MASK}@", text)
    return _QUERY.sub(f"?{MASK}", text)


def path_of(target: str) -> str:
    """Return the path of a request target, as sent: percent-encoded, without account, query and fragment."""
    is_path = target[:1] == "/" and target[:2] != "//"  # no absolute URI, no host name with a port
    if not is_path and (found := _IN_TARGET.match(target)):
        # The last `@` may be a part of the query.
        rest = "" if _END_OF_PATH.search(found[0]) else target[found.end() :]
        target = f"{found[1] or ''}{MASK}@{rest}"
    return _END_OF_PATH.split(target, maxsplit=1)[0]


def forget_text(error: Exception) -> None:
    """Remove the client's text from `error`'s text: `Invalid HTTP Header`, for example, remains."""
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
