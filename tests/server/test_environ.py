"""The environment of an ordinary request is the one that gunicorn builds."""

import pytest
from gunicorn.config import Config
from gunicorn.http import RequestParser, wsgi
from gunicorn.http.errors import ConfigurationProblem

from v1registry.server.environ import Environs

LISTENER = ("127.0.0.1", 5000)
PEER = ("10.1.2.3", 4711)
HEADS = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /v1/_ping?a=%2F&b HTTP/1.1\r\nHost: a:5000\r\nUser-Agent: docker/1.8.3\r\n\r\n",
    b"GET /%41%0d%zz;a?x=%41 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://x/a?b#c HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.1\r\nX-A: 1\r\nx-a:2\r\nX-A:\r\nX-B: \xe9\r\n\r\n",
    b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nSCRIPT_NAME: /a\r\nX_A: 1\r\n\r\n",
    b"GET /a/b HTTP/1.1\r\nScript_Name: /a\r\n\r\n",
    b"PUT /x HTTP/1.1\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
]


class Sent(list):
    """Replaces a connection, and stores what is written to it."""

    send = list.append


def environ(raw, trusted, make):
    cfg = Config()
    cfg.set("forwarded_allow_ips", trusted)
    request = next(RequestParser(cfg, iter([raw]), PEER))
    sent = Sent()
    try:
        _, found = make(cfg, request, sent)
    except ConfigurationProblem as error:
        return str(error)
    for name in ("wsgi.input", "wsgi.errors", "wsgi.early_hints", "wsgi.multithread"):
        found.pop(name, None)
    return found


def ours(cfg, request, sock):
    return Environs(cfg, LISTENER).create(request, sock, PEER)


def gunicorns(cfg, request, sock):
    return wsgi.create(request, sock, PEER, LISTENER, cfg)


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8"])
@pytest.mark.parametrize("raw", HEADS)
def test_the_environment_is_that_of_gunicorn(raw, trusted):
    assert environ(raw, trusted, ours) == environ(raw, trusted, gunicorns)


def test_script_name_of_the_application(monkeypatch):
    monkeypatch.setenv("SCRIPT_NAME", "/docker")
    found = environ(b"GET /docker/v1/_ping HTTP/1.1\r\n\r\n", "", ours)
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/docker", "/v1/_ping")


def test_errors_of_the_application_go_to_the_error_log(monkeypatch, capsys):
    cfg = Config()
    request = next(RequestParser(cfg, iter([HEADS[0]]), PEER))
    _, found = ours(cfg, request, Sent())
    monkeypatch.setitem(cfg.__dict__, "errorlog", "-")
    found["wsgi.errors"].writelines(["one ", "two"])
    found["wsgi.errors"].flush()
    assert "one two" in capsys.readouterr().err
