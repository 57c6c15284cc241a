"""The heads of our answers are those of gunicorn."""

import time
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.body import Body, LengthReader

from v1registry.server.answer import Answer


def request():
    """Return what an answer needs of a request: GET over HTTP/1.1, without a body."""
    body = Body(LengthReader(None, 0))
    return SimpleNamespace(method="GET", version=(1, 1), body=body, should_close=lambda: False)


HEADERS = [
    ("Content-Type", "a/b"), ("Content-Length", "12"), ("content-length", " 12"),
    ("Content-Length", "x"), ("X-A", " blanks\t"), ("X-B", "a\r\nX-C: d"), ("X-D", "\u20ac"),
    ("X-E", "\xe9"), ("X F", "a"), ("X-G:", "a"), ("", "a"), ("X-H", ""), ("X-I", 1), (b"X-J", "a"),
    ("X-K", b"a"), ("Connection", "close"), ("Connection", "upgrade"), ("Upgrade", "websocket"),
    ("Transfer-Encoding", "chunked"), ("Trailer", "x"), ("X-L", "a\x00"), ("X-M\n", "a"),
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_headers_of_answers_are_checked_as_by_gunicorn(header):
    found = []
    for kind in (Answer, wsgi.Response):
        answer = kind(request(), None, Config())
        for _ in range(2):  # the second time it is known
            try:
                answer.process_headers([("X-Before", "1"), header])
                outcome = None
            except Exception as error:
                outcome = type(error), str(error)
            found.append((kind, answer.headers, answer.response_length, answer.upgrade, outcome))
    ours, theirs = found[:2], found[2:]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[1:4] == other[1:4]
        assert (mine[4] is None) == (other[4] is None)
    if header[1] == "a\r\nX-C: d":
        assert ours[0][4][0].__name__ == "InvalidResponseHeader"


def test_the_first_lines_of_an_answer_are_those_of_gunicorn():
    ours, theirs = (kind(request(), None, Config()) for kind in (Answer, wsgi.Response))
    for answer in (ours, theirs):
        answer.start_response("200 OK", [])
    while True:  # until both fell into one second
        before = int(time.time())
        mine, other = "".join(ours.default_headers()), "".join(theirs.default_headers())
        if int(time.time()) == before:
            break
    assert sorted(mine.splitlines()) == sorted([*other.splitlines(), "X-Request-Id: -"])
    assert mine.splitlines()[0] == "HTTP/1.1 200 OK"
