"""Heads that our parser reads give the same result as gunicorn's; all others go to gunicorn's parser."""

import logging
import socket
import time

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import ConfigurationProblem, InvalidHeader
from gunicorn.http.message import Request
from gunicorn.http.unreader import SocketUnreader
from hypothesis import example, given
from hypothesis import strategies as st

from v1registry.server.answer import Answer
from v1registry.server.head import Environs, Head
from v1registry.server.log import _Line
from v1registry.server.sockets import ClientSocket

LISTENER = ("127.0.0.1", 5000)
PEER = ("10.1.2.3", 4711)
PUSH = (
    b"PUT /v1/images/%s/layer HTTP/1.1\r\nHost: registry:5000\r\nUser-Agent: docker/1.8.3 go/go1.4\r\n"
    b'Transfer-Encoding: chunked\r\nAuthorization: Token signature=ab,repository="a/b"\r\n'
    b"X-Forwarded-Proto: https\r\nAccept-Encoding: gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    % (b"0" * 64)
)


def config(trusted=""):
    cfg = Config()
    cfg.set("forwarded_allow_ips", trusted)
    cfg.__dict__.update({name: found.get() for name, found in cfg.settings.items()})
    return cfg


CONFIGS = {trusted: config(trusted) for trusted in ("", "10.0.0.0/8", "*")}


def read(data, cfg, make, pieces=1):
    """Return the result of parsing `data`, after which the client closes; or the type of the error."""
    ours, theirs = socket.socketpair()
    sock = ClientSocket(ours.family, ours.type, ours.proto, fileno=ours.detach())
    with sock, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        unreader = SocketUnreader(sock, max_chunk=max(1, len(data) // pieces))
        try:
            request = make(cfg, unreader, PEER)
        except Exception as error:
            return type(error), None
        return request, unreader


def head(cfg, unreader, peer):
    return Head(5.0, cfg, unreader, peer)


def facts(made):
    """Return all attributes that the server uses."""
    request, unreader = made
    if unreader is None:
        return request
    names = ("method", "uri", "path", "query", "fragment", "version", "headers", "scheme")
    found = {name: getattr(request, name) for name in names}
    reader = request.body.reader
    found["body"] = type(reader).__name__, getattr(reader, "length", None)
    found["closes"] = request.should_close()
    found["continue"] = request._expected_100_continue
    found["rest"] = unreader.take_buffered()
    return found


class Sent(list):
    """Replaces a connection, and stores what is written to it."""

    send = list.append


def environ(make, made):
    sent = Sent()
    try:
        _, found = make(made[0], sent, PEER)
    except ConfigurationProblem as error:
        return str(error), sent
    for name in ("wsgi.input", "wsgi.errors", "wsgi.early_hints", "wsgi.multithread"):
        found.pop(name, None)
    return found


def compare(data, trusted="", pieces=1):
    cfg = CONFIGS[trusted]
    ours, theirs = read(data, cfg, head, pieces), read(data, cfg, Request, pieces)
    if ours[1] is not None and theirs[1] is not None:
        environs = Environs(cfg, LISTENER)
        stock = environ(lambda *a: wsgi.create(*a, LISTENER, cfg), theirs)
        assert environ(environs.create, ours) == stock
    expected = facts(theirs)
    assert facts(ours) == expected
    return ours[0] if ours[1] else None


def test_the_head_of_a_docker_engine_is_ordinary():
    assert compare(PUSH).ordinary
    assert compare(PUSH, "10.0.0.0/8").scheme == "https"
    assert compare(PUSH).scheme == "http"
    assert not compare(PUSH, pieces=3).ordinary  # not in one packet


STRANGE = [
    b"GET //a HTTP/1.1", b"GET /a#b HTTP/1.1", b"GET a HTTP/1.1", b"GET http://x/a?b HTTP/1.1",
    b"OPTIONS * HTTP/1.1", b"GET /a HTTP/1.0", b"GET /a HTTP/2.0", b"GET /a", b"GET  /a HTTP/1.1",
    b"get /a HTTP/1.1", b"GET /\xe9 HTTP/1.1", b"GET /a b HTTP/1.1", b"CONNECT a:1 HTTP/1.1",
    b"GET /%41%0d%zz?x=%41 HTTP/1.1", b"GET /?? HTTP/1.1", b"GET /;a=b?c;d HTTP/1.1",
    b"GET /[::1]:/@\\\"{}^` HTTP/1.1", b"GET /" + b"a" * 4080 + b" HTTP/1.1",
    b"GET /" + b"a" * 4081 + b" HTTP/1.1", b"\r\nGET / HTTP/1.1", b"PATCH /x HTTP/1.1",
]  # fmt: skip
FIELDS = [
    b"Host: a", b"host:b", b"Host:", b"Content-Length: 5", b"Content-Length: 05",
    b"Content-Length: -1", b"Content-Length: +5", b"content-length: 7", b"Content-Length: 1_0",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: x",
    b"transfer-encoding: identity", b"Content-Type: a", b"Content-Type: b", b"Expect: 100-continue",
    b"Expect: x", b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http", b"X-Forwarded-Ssl: on",
    b"X_Forwarded_Proto: https", b"Script_Name: /a", b"SCRIPT-NAME: /a", b"X-A: 1", b"X-A: 2",
    b"x-a:3", b"X-B:   blanks  ", b"X-C: ", b"X-D:\ttab", b"X-E: a\tb", b"X-F : a", b" folded",
    b"\tfolded", b": a", b"no colon", b"X-G: \xe9", b"X-H: \x00", b"X-I: a\rb", b"X-J: a\nb",
    b"X-\xdf: a", b"X-K: a: b: c", b"X-L: :", b"Connection: close", b"Connection: keep-alive",
    b"X!#$%&'*+.^`|~: a", b"X-M: " + b"m" * 8300, b"X-N: n\r\nX-N: n" * 51,
]  # fmt: skip
LINE = st.sampled_from(STRANGE) | st.just(b"GET /v1/_ping?x=1 HTTP/1.1")
REST = st.sampled_from([b"", b"hello", b"GET / HTTP/1.1\r\n\r\n", b"\r\n"])
TRUSTED = st.sampled_from(list(CONFIGS))


@given(
    LINE, st.lists(st.sampled_from(FIELDS), max_size=6), REST, TRUSTED, st.sampled_from([1, 1, 2])
)
@example(b"GET / HTTP/1.1", [b"Host: a"] * 2, b"", "", 1)
@example(b"GET / HTTP/1.1", [], b"", "", 1)
def test_heads_give_the_result_of_gunicorn(line, fields, rest, trusted, pieces):
    compare(b"".join(part + b"\r\n" for part in (line, *fields, b"")) + rest, trusted, pieces)


@given(
    st.integers(0, PUSH.index(b"\r\n\r\n") + 4),
    st.integers(0, 3),
    st.binary(max_size=3) | st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"_", b"#"]),
    TRUSTED,
)
def test_damaged_heads_give_the_result_of_gunicorn(at, removed, put, trusted):
    compare(PUSH[:at] + put + PUSH[at + removed :], trusted)


@given(st.binary(max_size=60))
def test_any_bytes_give_the_result_of_gunicorn(data):
    compare(data)


def test_limits_are_those_of_gunicorn():
    for count in (100, 101):
        fields = b"".join(b"X-%d: a\r\n" % number for number in range(count))
        compare(b"GET / HTTP/1.1\r\n" + fields + b"\r\n")


def test_script_name_of_the_application(monkeypatch):
    monkeypatch.setenv("SCRIPT_NAME", "/docker")
    data = b"GET /docker/v1/_ping HTTP/1.1\r\nHost: a\r\n\r\n"
    request = compare(data)
    _, found = Environs(CONFIGS[""], LISTENER).create(request, "sock", PEER)
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/docker", "/v1/_ping")


def test_errors_of_the_application_go_to_the_error_log(monkeypatch, capsys):
    cfg = config()
    made = read(PUSH, cfg, head)
    _, found = Environs(cfg, LISTENER).create(made[0], "sock", PEER)
    monkeypatch.setitem(cfg.__dict__, "errorlog", "-")
    found["wsgi.errors"].writelines(["one ", "two"])
    found["wsgi.errors"].flush()
    assert "one two" in capsys.readouterr().err


HEADERS = [
    ("Content-Type", "a/b"), ("Content-Length", "12"), ("content-length", " 12"),
    ("Content-Length", "x"), ("X-A", " blanks\t"), ("X-B", "a\r\nX-C: d"), ("X-D", "\u20ac"),
    ("X-E", "\xe9"), ("X F", "a"), ("X-G:", "a"), ("", "a"), ("X-H", ""), ("X-I", 1), (b"X-J", "a"),
    ("X-K", b"a"), ("Connection", "close"), ("Connection", "upgrade"), ("Upgrade", "websocket"),
    ("Transfer-Encoding", "chunked"), ("Trailer", "x"), ("X-L", "a\x00"), ("X-M\n", "a"),
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_headers_of_answers_are_checked_as_by_gunicorn(header):
    cfg = CONFIGS[""]
    found = []
    for kind in (Answer, wsgi.Response):
        request, _ = read(PUSH, cfg, head)
        answer = kind(request, None, cfg)
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
    request, _ = read(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", CONFIGS[""], head)
    ours, theirs = (kind(request, None, CONFIGS[""]) for kind in (Answer, wsgi.Response))
    for answer in (ours, theirs):
        answer.start_response("200 OK", [])
    while True:  # until both fell into one second
        before = int(time.time())
        mine, other = "".join(ours.default_headers()), "".join(theirs.default_headers())
        if int(time.time()) == before:
            break
    assert sorted(mine.splitlines()) == sorted([*other.splitlines(), "X-Request-Id: -"])
    assert mine.splitlines()[0] == "HTTP/1.1 200 OK"


def test_a_record_of_the_access_log_has_all_attributes():
    stock = logging.LogRecord("gunicorn.access", logging.INFO, "", 0, "said", None, None)
    time.sleep(0.01)
    record = _Line("said")
    assert vars(record).keys() == vars(stock).keys()
    assert 0 < record.created - stock.created < 5
    assert record.relativeCreated > stock.relativeCreated
    assert record.process == stock.process
    form = "%(name)s %(levelname)s %(module)s %(filename)s %(lineno)d %(process)d %(message)s"
    assert logging.Formatter(form).format(record) == logging.Formatter(form).format(stock)


def test_a_second_host_is_refused():
    made, _ = read(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", CONFIGS[""], head)
    assert made is InvalidHeader
