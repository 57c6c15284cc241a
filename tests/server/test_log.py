"""Log lines: complete, without secrets, and impossible to forge."""

import json
import logging
import re
import socket
import sys
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import raw as raw_client
from tests.live_server import Server
from tests.server.serving import Serving, head, read_answer, wait_for
from tests.server.test_receive import json_of
from v1registry.server.log import (
    JSONFormatter,
    JSONLogger,
    PlainFormatter,
    PlainLogger,
    is_request_id,
)
from v1registry.server.redact import escape, mask, path_of


@pytest.fixture(scope="module")
def proxied(tmp_path_factory):
    """A server that trusts proxies on the loopback interface and in 10/8, with JSON logs."""
    folder = tmp_path_factory.mktemp("proxied")
    with Serving(folder, log_format="json", trusted=["127.0.0.1", "10.0.0.0/8"]) as serving:
        yield serving


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A server whose error log no other test reads."""
    with Serving(tmp_path_factory.mktemp("plain")) as serving:
        yield serving


def line_of(serving, *args, **kwargs):
    answer = serving.get(*args, **kwargs)
    return answer, serving.line_of(answer)


def test_plain_line(serving):
    (_, headers, body), line = line_of(
        serving,
        "/facts/a%20b?secret=1",
        headers=[("User-Agent", "docker/1.8"), ("Authorization", "x")],
    )
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
        + headers["X-Request-Id"]
        + rf' 127\.0\.0\.1 "GET /facts/a%20b" 200 {len(body)} - \d+\.\dms "docker/1\.8"',
        line,
    )


def test_bytes_received(serving):
    _, line = line_of(serving, "/receive", "PUT", [("Content-Length", "5")], b"hello")
    assert re.search(r" 200 \d+ 5 ", line)


def test_json_line(proxied):
    (_, headers, body), line = line_of(
        proxied,
        "/facts?q=secret",
        headers=[("User-Agent", 'a"b'), ("Authorization", "Basic c2VjcmV0")],
    )
    entry = json.loads(line)
    assert re.fullmatch(r"[0-9a-f]{20}", entry["request_id"])
    assert entry.pop("duration_ms") >= 0
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "request_id": headers["X-Request-Id"],
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/facts",
        "status": 200,
        "bytes_sent": len(body),
        "bytes_received": None,
        "user_agent": 'a"b',
    }
    assert "secret" not in line
    assert "c2VjcmV0" not in line


def test_json_error_log(proxied):
    proxied.get("/no-such-route")
    entries = [json.loads(line) for line in proxied.log.splitlines()]
    assert any("KeyError" in entry.get("exception", "") for entry in entries)
    assert all({"time", "level", "pid", "message"} <= entry.keys() for entry in entries)


# Bytes that a terminal or a line-based reader may take for something else.
FORGED = 'x"\t\\\x80\x85\xa0\xff" 200 0'


def test_no_forged_lines(serving, proxied):
    for each in (serving, proxied):
        with each.connect() as sock:
            sock.sendall(head("GET", '/facts/"%0A\\', [("User-Agent", FORGED)]))
            line = each.line_of(read_answer(sock))
        assert line.isascii()
        assert line.isprintable()
        # Every line is a line of the log, and none is a part of this request.
        assert all(re.match(r'(\{"time": ")?\d{4}-', line) for line in each.access_lines)
    assert json.loads(line)["user_agent"] == FORGED


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a b~", "a b~"),
        ('"', '\\"'),
        ("\\", "\\\\"),
        ("\r\n\0\x7f\x9b", "\\x0d\\x0a\\x00\\x7f\\x9b"),
        ("é\u2028\U0001f600", "\\xe9\\u2028\\U0001f600"),
    ],
)
def test_escape(text, written):
    assert escape(text) == written


@pytest.mark.parametrize("formatter", [PlainFormatter, JSONFormatter])
def test_error_lines_cannot_be_forged(formatter):
    record = logging.LogRecord("x", logging.INFO, "", 0, "bad %s", ("a\nb\x1b[1m\u2028",), None)
    line = formatter().format(record)
    assert line.isprintable()
    try:
        raise ValueError("why")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert "ValueError: why" in formatter().format(record)


FORWARDED = [
    ("203.0.113.9", "203.0.113.9"),
    ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
    ("203.0.113.9, 10.1.2.3", "203.0.113.9"),
    ("6.6.6.6, 203.0.113.9, 10.1.2.3,10.1.2.4", "203.0.113.9"),
    ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
    ("203.0.113.9:5555", "203.0.113.9"),
    ("[2001:db8::1]:80, 10.1.2.3", "2001:db8::1"),
    ("2001:db8::1", "2001:db8::1"),
    ("203.0.113.9, ::ffff:10.1.2.3", "203.0.113.9"),
    ("nonsense", "127.0.0.1"),
    ("203.0.113.9, nonsense, 10.1.2.3", "10.1.2.3"),
    ("", "127.0.0.1"),
    ("fe80::1%eth0", "fe80::1"),
    ('fe80::1%x" 200 0 FORGED', "fe80::1"),
    ("203.0.113.9, fe80::1%\xa0\x85x, 10.1.2.3", "fe80::1"),
]


@pytest.mark.parametrize(("forwarded", "client"), FORWARDED)
def test_client_behind_trusted_proxies(proxied, forwarded, client):
    headers = [("X-Forwarded-For", forwarded), ("X-Forwarded-Proto", "https")]
    (answer, line) = line_of(proxied, "/facts", headers=headers)
    assert json_of(answer)["client"] == json.loads(line)["client"] == client
    assert json_of(answer)["scheme"] == "https"


def test_untrusted_peer(serving):
    headers = [
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Request-Id", "mine"),
    ]
    answer, line = line_of(serving, "/facts", headers=headers)
    assert json_of(answer)["client"] == "127.0.0.1"
    assert json_of(answer)["scheme"] == "http"
    assert answer[1]["X-Request-Id"] != "mine"
    assert "203.0.113.9" not in line


def test_request_id_from_a_trusted_proxy(proxied):
    answer, line = line_of(proxied, "/facts", headers=[("X-Request-Id", "Abc-1.2_3:4")])
    assert answer[1]["X-Request-Id"] == json_of(answer)["request_id"] == "Abc-1.2_3:4"
    assert json.loads(line)["request_id"] == "Abc-1.2_3:4"
    answer, _ = line_of(proxied, "/facts", headers=[("X-Request-Id", 'a b"')])
    assert re.fullmatch(r"[0-9a-f]{20}", answer[1]["X-Request-Id"])


def test_request_ids_differ(serving):
    ids = {serving.get("/facts")[1]["X-Request-Id"] for _ in range(10)}
    assert len(ids) == 10
    assert serving.get("/refuse")[1]["X-Request-Id"]


@pytest.mark.parametrize("text", ["", "a b", "a\n", "x" * 129, "ü", "a,b", "<a>"])
def test_unsafe_request_ids(text):
    assert not is_request_id(text)


# What clients get wrong, or what they send to find it in the log.
SECRET = "hush-hush"
LEAKS = {
    "a header without a colon": f"GET /facts HTTP/1.1\r\nAuthorization {SECRET}\r\n\r\n",
    "a blank before the colon": f"GET /facts HTTP/1.1\r\nAuthorization : {SECRET}\r\n\r\n",
    "a header of two lines": f"GET /facts HTTP/1.1\r\nAuthorization: Basic\r\n {SECRET}\r\n\r\n",
    "a header's name": f"GET /facts HTTP/1.1\r\n{SECRET}(: x\r\n\r\n",
    "a NUL in a header": f"GET /facts HTTP/1.1\r\nAuthorization: {SECRET}\0\r\n\r\n",
    "an unknown coding": f"PUT /facts HTTP/1.1\r\nTransfer-Encoding: {SECRET}\r\n\r\n",
    "a request line of one word": f"{SECRET}\r\n\r\n",
    "a method": f"{SECRET} /facts HTTP/1.1\r\n\r\n",
    "a version": f"GET /facts {SECRET}\r\n\r\n",
    "a blank in the target": f"GET /facts?a={SECRET} b HTTP/1.1\r\n\r\n",
    "an absolute URI": f"GET http://ann:{SECRET}@localhost/facts HTTP/1.1\r\n\r\n",
    "a question mark in its password": f"GET http://ann:{SECRET}?@localhost/facts HTTP/1.1\r\n\r\n",
    "a slash in its password": f"GET http://ann:{SECRET}/x@localhost/facts HTTP/1.1\r\n\r\n",
    "no scheme": f"GET //ann:{SECRET}@localhost/facts HTTP/1.1\r\n\r\n",
    "a host": f"CONNECT ann:{SECRET}@localhost:80 HTTP/1.1\r\n\r\n",
    "a query": f"GET /facts?token={SECRET} HTTP/1.1\r\n\r\n",
    "a fragment": f"GET /facts#{SECRET} HTTP/1.1\r\n\r\n",
    "an error": f"GET /no-such-route?token={SECRET} HTTP/1.1\r\n\r\n",
    "an error of an absolute URI": f"GET http://a:{SECRET}@h/no-such-route HTTP/1.1\r\n\r\n",
    "a size of a chunk": f"PUT /receive HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
    "an expectation": f"PUT /facts HTTP/1.1\r\nExpect: {SECRET}\r\n\r\n",
    "a head that ends too early": f"GET /facts HTTP/1.1\r\nAuthorization: {SECRET}\r\n",
    "two lengths": f"PUT /facts HTTP/1.1\r\nContent-Length: 1, {SECRET}\r\n\r\n",
    "a length": f"PUT /facts HTTP/1.1\r\nContent-Length: {SECRET}\r\n\r\n",
}


def logged(serving, raw):
    """Return what a connection with these bytes adds to all logs."""
    before = [file.stat().st_size for file in logs_of(serving)]
    with serving.connect() as sock:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)
        try:
            while sock.recv(65536):
                pass
        except ConnectionResetError:
            pass  # the server closed the connection before it read everything
    identity = serving.get("/facts")[1]["X-Request-Id"]
    wait_for(lambda: identity in added(serving.access_log, before[2]))
    return [added(file, size) for file, size in zip(logs_of(serving), before, strict=True)]


def added(file, size):
    with file.open() as opened:
        opened.seek(size)
        return opened.read()


def logs_of(serving):
    return serving.output, serving.error_log, serving.access_log


@pytest.mark.parametrize("raw", LEAKS.values(), ids=LEAKS)
def test_no_secret_is_logged(plain, proxied, raw):
    """Even at the log level debug."""
    for serving in (plain, proxied):
        assert SECRET not in "".join(logged(serving, raw.encode())).lower()


def test_lines_for_syslog_are_escaped_too(tmp_path):
    """These lines have a prefix from gunicorn, and are sent as datagrams."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "syslog"))
        syslog.settimeout(10)
        options = f"[--log-syslog, --log-syslog-to, 'unix://{tmp_path}/syslog#dgram']"
        with Server(tmp_path / "store", env={"GUNICORN_OPTS": options}) as server:
            raw_client.exchange(server, LEAKS["a header without a colon"].encode(), "GET")
            lines = []
            while not lines or b"Invalid HTTP Header" not in lines[-1]:
                lines.append(syslog.recv(65536))
    assert b"gunicorn.v1registry.error: [" in lines[-1]
    assert SECRET.encode() not in b"".join(lines).lower()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("no redis://u:p@h:1/2?x", "no redis://********@h:1/2?x"),
        ("GET https://h/a?X-Amz-Signature=5%2F&b=c failed", "GET https://h/a?******** failed"),
        ("url: /v1/x?token=5 (Caused by", "url: /v1/x?******** (Caused by"),
        ("{'Authorization': 'Basic YTpi', 'a': 1}", "{'Authorization': ********"),
        ("authorization: Bearer x.y.z", "authorization: ********"),
        ("Requires authorization", "Requires authorization"),
        ("is this a question? a=b", "is this a question? a=b"),
        ("mail a@example.org", "mail a@example.org"),
    ],
)
def test_what_is_masked_in_every_line(text, masked):
    assert mask(text) == masked
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None)
    assert PlainFormatter().format(record).endswith(masked)
    assert json.loads(JSONFormatter().format(record))["message"] == masked


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/a@b/c?d#e", "/v1/a@b/c"),
        ("http://h/v1/x?y", "http://h/v1/x"),
        ("http://a:b@h/v1/x", "http://********@h/v1/x"),
        ("http://h/v1/x?a=b@c", "http://********@"),
        ("http://a:b#@h/v1/x", "http://********@"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_the_path_of_a_target(target, path):
    assert path_of(target) == path


def test_no_line_of_a_traceback_looks_like_a_line_of_the_log():
    try:
        raise ValueError("why\n2026-01-01T00:00:00.000Z forged\x1b[1m\u202e\ud800")
    except ValueError:
        record = logging.LogRecord("x", logging.INFO, "", 0, "bad", (), sys.exc_info())
    first, *rest = PlainFormatter().format(record).split("\n")
    assert first.endswith("bad")
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert "forged\\x1b[1m\\u202e\\ud800" in rest[-1]


# -- any request ----------------------------------------------------------------------------------

NOISE = st.text(
    st.characters(max_codepoint=255) | st.sampled_from('"\\\r\n\t\0\x1b\x7f\x85\xa0 %'), max_size=8
)
AROUND = st.text(st.sampled_from("ab:/?#@&=%\"'\\;.[]-"), max_size=5)


def secret_text(start=AROUND):
    """Texts in which SECRET must not be logged."""
    return st.builds("{}{}{}".format, start, st.just(SECRET), AROUND)


# Accounts, queries and fragments of targets may hold a secret, paths may not.
TARGETS = st.builds(
    "{}{}{}".format,
    st.one_of(
        st.just("/facts"),
        st.just("/no-such-route"),
        st.builds("/facts/{}".format, NOISE.map(lambda text: re.sub(r"[?#]", "", text))),
        st.builds(
            "{}{}@localhost:80/facts".format,
            st.sampled_from(["http://", "HTTP://", "//", "ftp+x://", "ann:", ""]),
            secret_text(st.just("ann:") | AROUND.filter(lambda text: not text.startswith("/"))),
        ),
    ),
    st.just("") | st.builds("?{}".format, secret_text()),
    st.just("") | st.builds("#{}".format, secret_text()),
)
HEADERS = st.one_of(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["Authorization", "authorization", "Proxy-Authorization", "Cookie", "X-Token",
                         "Content-Length", "Transfer-Encoding", "Expect", "Host", SECRET, f"{SECRET}("]),
        st.sampled_from([": ", ": ", ":", " : ", " ", "\t", ":\r\n ", ": Basic ", ": Bearer\t", ": 1, "]),
        st.builds("{}{}{}".format, st.sampled_from(["", "Basic ", "\0"]), st.just(SECRET), NOISE),
    ),
    st.builds("X-Forwarded-For: {}{}{}".format,
              st.sampled_from(["fe80::1%", "[fe80::1%", "10.1.2.3, ", "203.0.113.9:", ""]),
              secret_text(), st.sampled_from(["", "]:80", ", 10.1.2.3"])),
    st.builds("User-Agent: {}".format, NOISE),
    st.builds("X-Request-Id: {}".format, NOISE),
)  # fmt: skip
REQUESTS = st.builds(
    "{} {}{}{}\r\n{}\r\n\r\n{}".format,
    st.sampled_from(["GET", "GET", "PUT", "HEAD", "CONNECT", "get", SECRET, "G\0T"]),
    TARGETS,
    st.sampled_from([" ", " ", "  ", "\t", ""]),
    st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", SECRET, f"HTTP/{SECRET}", ""]),
    st.lists(HEADERS, max_size=4).map("\r\n".join),
    st.sampled_from(["", SECRET, f"{SECRET}\r\n", f"5;{SECRET}\r\nhello\r\n0\r\n\r\n"]),
)


@settings(max_examples=50, deadline=None)
@given(REQUESTS)
@example(f"GET /facts HTTP/1.1\r\nX-Forwarded-For: fe80::1%{SECRET}\r\n\r\n")
def test_no_request_logs_a_secret_or_forges_a_line(plain, proxied, request):
    for serving in (plain, proxied):
        output, errors, access = logged(serving, request.encode("latin-1"))
        assert SECRET not in (output + errors + access).lower()
        for line in errors.splitlines() + access.splitlines():
            assert line.isascii()
            assert line.isprintable()
            assert serving is plain or json.loads(line)["time"]
        # Each request ends in one line at most, and the last line is that of `logged`.
        assert len(access.splitlines()) <= 2 + request.count("\r\n\r\n")


def fields_of(line):
    """Return the fields of a plain line, with the quoted ones in quotes."""
    return re.findall(r'"(?:[^"\\]|\\.)*"|[^ "]+', line)


@settings(max_examples=200, deadline=None)
@given(target=TARGETS, method=NOISE, agent=NOISE, client=NOISE)
@example("http://localhost/facts?a@" + SECRET, "GET", "", "")
def test_the_line_of_any_request(target, method, agent, client):
    """gunicorn refuses most such requests, so the text itself must be safe."""
    environ = {
        "REQUEST_METHOD": method,
        "RAW_URI": target,
        "HTTP_USER_AGENT": agent,
        "REMOTE_ADDR": client,
        "v1registry.request_id": "id",
        "v1registry.received": 7,
    }
    answer = SimpleNamespace(status="200 OK", sent=5)
    entry = json.loads(JSONLogger.line(None, answer, environ, 1.0))
    assert (entry["method"], entry["user_agent"], entry["client"]) == (method, agent, client or "-")
    line = PlainLogger.line(None, answer, environ, 1.0)
    for text in (line, json.dumps(entry)):
        assert text.isascii()
        assert text.isprintable()
        assert SECRET not in text
    if " " not in client and '"' not in client:
        fields = fields_of(line)
        assert fields[3:] == [fields[3], "200", "5", "7", "1.0ms", f'"{escape(agent)}"']


MESSAGES = st.one_of(
    st.builds("{}//{}@h/x {}".format, NOISE, secret_text(st.just("u:")).map(
        lambda text: re.sub(r"[/?#\"'@]", "", text)), NOISE),
    st.builds("{}Authorization{}{}{}".format, NOISE, st.sampled_from([": ", "=", "': '", ", ", " : "]),
              st.sampled_from(["", "Basic ", "Bearer "]), secret_text()),
    st.builds("GET https://h/a?{}={} failed".format, st.sampled_from(["a", "X-Amz-Signature"]),
              secret_text().map(lambda text: re.sub(r"[?\"']", "", text))),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(MESSAGES, st.booleans())
def test_any_message_is_one_line_without_its_secret(text, is_error):
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None)
    if is_error:
        try:
            raise ValueError(text)
        except ValueError:
            record.exc_info = sys.exc_info()
    entry = json.loads(JSONFormatter().format(record))
    first, *rest = PlainFormatter().format(record).split("\n")
    assert SECRET not in f"{entry} {first} {rest}"
    assert all(line.isprintable() for line in (first, *rest))
    assert all(line.startswith("    ") for line in rest)
    assert bool(rest) == is_error
