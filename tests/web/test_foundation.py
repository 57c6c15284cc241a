"""What holds for every page: redirects, headers, cookies, forms, sessions, errors."""

from __future__ import annotations

import hashlib
import re
import time

import pytest
from itsdangerous import URLSafeSerializer

from tests import raw
from tests.backends.slapd import ADMIN, ADMIN_PASSWORD, GROUPS, PEOPLE, Slapd
from tests.backends.slapd import PASSWORD as LDAP_PASSWORD
from tests.index.conftest import PASSWORD, here, open_database
from tests.live_server import Server, StartError
from tests.needs import needs
from tests.protocol import engine, seed
from tests.rights.accounts import basic, environment, password_file
from tests.waiting import wait_for
from tests.web.client import Visitor
from tests.web.conftest import HOSTILE, Site
from v1registry.index.accounts import AccountStore

#: in the list of repositories, the link to one that only members see
PRIVATE = b'href="/ui/repositories/team/private"'
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (CHROME, True),
        ("text/html", True),
        ("application/json;q=0.5, text/html;q=0.6", True),
        ("application/json, text/html;q=0.9", False),
        ("text/html, application/json", False),
        ("text/html;q=0", False),
        ("*/*", False),
        ("application/json", False),
        (None, False),
        ("nonsense;;q=x", False),
    ],
)
def test_the_root_redirects_only_clients_that_prefer_html(site: Site, accept, is_page):
    answer = raw.get(site.server, "/", {} if accept is None else {"Accept": accept})
    if is_page:
        assert (answer.status, answer.header("Location")) == (302, "/ui/")
    else:
        assert (answer.status, answer.json()) == (200, '"docker-registry server"')


def test_the_pages_can_be_switched_off(tmp_path):
    with Server(tmp_path / "store", env={"WEB_ENABLED": "false"}) as server:
        assert raw.get(server, "/", {"Accept": CHROME}).json() == '"docker-registry server"'
        assert raw.get(server, "/ui/").status == 404
        assert "in a browser" not in server.log


def test_the_last_line_of_the_start_names_the_url(own_server):
    text = f"Open http://127.0.0.1:{own_server.port}/ui/ in a browser"
    wait_for(lambda: text in own_server.log)
    lines = [line for line in own_server.log.splitlines() if '"GET ' not in line]
    assert lines[-1].endswith(text)


@pytest.mark.parametrize("path", ["/ui/", "/ui/sign-in", "/ui/none", "/ui/?page=x"])
def test_every_page_has_strict_headers(site: Site, path):
    answer = raw.get(site.server, path)
    policy = answer.header("Content-Security-Policy") or ""
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    for name, value in {
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }.items():
        assert answer.header(name) == value
    assert not re.search(rb" style=| on[a-z]+=|<style|<script>|https?://", answer.body)


def test_static_files_are_cached_for_ever(site: Site):
    page = raw.get(site.server, "/ui/").body.decode()
    paths = re.findall(r'(?:href|src)="(/ui/static/[^"]+)"', page)
    assert len(paths) == 3
    for path in paths:
        answer = raw.get(site.server, path)
        assert answer.status == 200
        assert answer.header("Cache-Control") == "public, max-age=31536000, immutable"
        assert answer.all("Set-Cookie") == []
    other = raw.get(site.server, "/ui/static/0123/style.css")
    assert (other.status, other.header("Cache-Control")) == (200, "no-store")
    assert raw.get(site.server, "/ui/static/0123/none.css").status == 404
    assert raw.get(site.server, "/ui/static/0123/..%2fbase.html").status == 404


class Mounted(Server):
    """A server below `/registry`. gunicorn refuses all other paths."""

    def _answers(self) -> bool:
        try:
            return raw.get(self, "/registry/v1/_ping").status == 200
        except OSError:
            return False


def test_below_another_path(tmp_path):
    with Mounted(tmp_path / "store", env={"SCRIPT_NAME": "/registry"}) as server:
        answer = raw.get(server, "/registry/", {"Accept": CHROME})
        assert answer.header("Location") == "/registry/ui/"
        page = raw.get(server, "/registry/ui/").body.decode()
        assert 'href="/registry/ui/static/' in page
        assert 'href="/ui/' not in page
        text = f"Open http://127.0.0.1:{server.port}/registry/ui/ in"
        wait_for(lambda: text in server.log)


# -- sessions ---------------------------------------------------------------------------------------


def test_signing_in_and_out(site: Site):
    visitor = Visitor(site.server)
    assert PRIVATE not in visitor.get("/ui/?q=private").body
    answer = visitor.sign_in("reader")
    assert (answer.status, answer.header("Location")) == (303, "/ui/")
    [cookie] = [line for line in answer.all("Set-Cookie") if "v1registry_session" in line]
    assert {"HttpOnly", "Path=/ui/", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert PRIVATE in visitor.get("/ui/?q=private").body
    assert visitor.post("/ui/sign-out").status == 303
    page = visitor.get("/ui/?q=private").body
    assert b"You are signed out." in page
    assert PRIVATE not in page
    assert b"You are signed out." not in visitor.get("/ui/").body


def test_the_cookie_is_secure_behind_a_proxy_with_tls(site: Site):
    visitor = Visitor(site.server, X_Forwarded_Proto="https")
    visitor.get("/ui/sign-in")
    fields = {"name": "reader", "password": PASSWORD}
    origin = site.server.url.replace("http:", "https:")
    answer = visitor.post("/ui/sign-in", fields, Origin=origin)
    assert answer.status == 303
    assert all("Secure" in line for line in answer.all("Set-Cookie"))


def test_api_requests_neither_get_nor_honour_the_session(site: Site):
    visitor = Visitor(site.server)
    visitor.sign_in("reader")
    answer = visitor.get("/v1/repositories/team/private/tags")
    assert answer.status == 401
    assert answer.all("Set-Cookie") == []
    page = Visitor(site.server).get("/ui/?q=private", **basic("reader", PASSWORD))
    assert PRIVATE not in page.body  # and the pages do not honour a password


@pytest.mark.parametrize("change", ["password", "disabled", "removed"])
def test_a_change_of_the_account_ends_its_sessions(site: Site, change):
    database = open_database(site.database)
    accounts = AccountStore(database, here)
    name = f"passing-{change}"
    accounts.add(name, PASSWORD)
    visitor = Visitor(site.server)
    assert visitor.sign_in(name).status == 303
    accounts.issue_secret(name)  # this does not end it
    assert name.encode() in visitor.get("/ui/").body
    match change:
        case "password":
            accounts.set_password(name, "another-secret")
        case "disabled":
            accounts.set_disabled(name, True)
        case "removed":
            accounts.remove(name, 0)
    database.close()
    assert name.encode() not in visitor.get("/ui/").body
    assert "v1registry_session" not in visitor.cookies


def test_sessions_end_and_cannot_be_forged(site: Site, tmp_path):
    env = {"INDEX_DATABASE": site.database, "WEB_SESSION_LIFE": "60"}
    with Server(site.server.store, env=env) as server:
        visitor = Visitor(server)
        answer = visitor.sign_in("reader")
        assert any("Max-Age=60" in line for line in answer.all("Set-Cookie"))
        # Another server on the same store accepts the session.
        visitor.server = site.server
        assert b"reader" in visitor.get("/ui/").body
        right = visitor.cookies["v1registry_session"]
        for wrong in (right[:-2], right[1:], "x", "", f"{right}x", "a" * 5000):
            visitor.cookies["v1registry_session"] = wrong
            answer = visitor.get("/ui/")
            assert answer.status == 200
            assert b"reader" not in answer.body
        # A message is signed by the same secret, and is no session.
        visitor.cookies = {"v1registry_session": right}
        visitor.get("/ui/")
        visitor.post("/ui/sign-out")
        visitor.cookies["v1registry_session"] = visitor.cookies["v1registry_flash"]
        assert visitor.get("/ui/").status == 200


def test_a_session_ends_in_time(tmp_path):
    """The cookie's own end counts, whatever the browser does with it."""
    secret = "0123456789abcdef"
    file = password_file(tmp_path, ["ann"])
    with Server(tmp_path / "store", env=environment(file, WEB_SECRET=secret)) as server:
        visitor = Visitor(server)
        visitor.sign_in("ann", "open sesame")
        options = {"digest_method": hashlib.sha256}
        signer = URLSafeSerializer(secret, salt="v1registry_session", signer_kwargs=options)
        value = signer.loads(visitor.cookies["v1registry_session"])
        for ends, is_signed_in in ((time.time() + 60, True), (time.time() - 1, False)):
            visitor.cookies["v1registry_session"] = signer.dumps({**value, "expires": ends})
            assert (b"ann</span>" in visitor.get("/ui/").body) == is_signed_in
        assert "v1registry_session" not in visitor.cookies


def test_a_short_secret_stops_the_start(tmp_path):
    with pytest.raises(StartError, match="must have at least 16 characters"):
        Server(tmp_path / "store", env={"WEB_SECRET": "short"})


def test_an_access_token_does_not_sign_in(site: Site):
    database = open_database(site.database)
    secret = AccountStore(database, here).issue_secret("reader")
    database.close()
    visitor = Visitor(site.server)
    answer = visitor.sign_in("reader", secret)
    assert answer.status == 403
    assert b"Sign in with the password of the account" in answer.body
    assert PRIVATE not in visitor.get("/ui/?q=private").body


def test_sign_ins_are_throttled_with_other_logins(site: Site):
    env = {"INDEX_DATABASE": site.database, "ACCOUNTS_ATTEMPTS": "2"}
    with Server(site.server.store, env=env) as server:
        visitor = Visitor(server)
        assert raw.get(server, "/v1/users/", basic("writer", "wrong")).status == 401
        answer = visitor.sign_in("writer", "wrong")
        assert (answer.status, answer.header("WWW-Authenticate")) == (401, None)
        assert b"Wrong user name or password" in answer.body
        assert b'value="writer"' in answer.body
        answer = visitor.sign_in("writer", "wrong")
        assert answer.status == 429
        assert answer.header("Retry-After")
        assert b"Too many wrong passwords" in answer.body
        assert raw.get(server, "/v1/users/", basic("writer", PASSWORD)).status == 429


def test_the_next_page_is_one_of_ours(site: Site):
    for given, wanted in {
        "/ui/?q=x": "/ui/?q=x",
        "/ui/?q=\N{SNOWMAN}": "/ui/?q=%E2%98%83",
        "https://example.org/": "/ui/",
        "//example.org/ui/": "/ui/",
        "/ui/\\..\\x": "/ui/",
        "/v1/_ping": "/ui/",
        "/ui/\r\nX-Injected: 1": "/ui/",
    }.items():
        visitor = Visitor(site.server)
        visitor.get("/ui/sign-in")
        fields = {"name": "reader", "password": PASSWORD, "next": given}
        answer = visitor.post("/ui/sign-in", fields)
        assert (answer.status, answer.header("Location")) == (303, wanted)


# -- forms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"csrf_token": ""}, {}),
        ({"csrf_token": "0" * 32}, {}),
        ({"csrf_token": "\N{SNOWMAN}"}, {}),
        ({}, {"Origin": "https://evil.example"}),
        ({}, {"Origin": "null"}),
        ({}, {"Sec_Fetch_Site": "cross-site"}),
        ({}, {"Sec_Fetch_Site": "same-site"}),
        ({}, {"Content_Type": "text/plain"}),
    ],
)
def test_forms_of_other_sites_change_nothing(site: Site, fields, headers):
    visitor = Visitor(site.server)
    visitor.sign_in("reader")
    answer = visitor.post("/ui/sign-out", fields, **headers)
    assert answer.status == 403
    assert b"othing was changed" in answer.body
    assert b"reader" in visitor.get("/ui/").body
    other = Visitor(site.server)
    other.sign_in("writer")
    assert visitor.post("/ui/sign-out", {"csrf_token": other.token}).status == 403


def test_large_forms_are_refused(tmp_path):
    with Server(tmp_path / "store", env={"LIMITS_JSON": "2048"}) as server:
        assert Visitor(server).post("/ui/none", {"x": "y" * 3000}).status == 413


# -- errors -----------------------------------------------------------------------------------------


def test_errors_are_pages_with_a_next_step(site: Site):
    answer = raw.get(site.server, "/ui/none")
    assert (answer.status, answer.header("Content-Type")) == (404, "text/html; charset=utf-8")
    assert b"There is no such page, or you may not see it." in answer.body
    assert b"Check the address." in answer.body
    assert raw.get(site.server, "/ui/?page=%00").status == 400
    assert raw.get(site.server, "/ui").header("Location") == "/ui/"


def test_hostile_text_is_escaped(site: Site):
    for path in ("/ui/?q={}", "/ui/?namespace={}&q=x", "/ui/{}", "/ui/sign-in?next={}"):
        answer = raw.get(site.server, path.format(raw_quoted(HOSTILE)))
        assert b"<img" not in answer.body
        assert b"<script>" not in answer.body


def raw_quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


# -- other kinds of accounts ------------------------------------------------------------------------


def test_an_open_registry_has_no_sign_in(own_server):
    page = raw.get(own_server, "/ui/").body
    assert b"Push the first image" in page
    assert f"docker push {own_server.host}/team/busybox".encode() in page
    assert b"Sign in" not in page
    assert raw.get(own_server, "/ui/sign-in").status == 404


def test_accounts_of_a_password_file(tmp_path):
    file = password_file(tmp_path, ["ann"])
    with Server(tmp_path / "store", env=environment(file)) as server:
        visitor = Visitor(server)
        assert visitor.sign_in("ann", "open sesame").status == 303
        page = visitor.get("/ui/").body
        assert b"docker login" in page
        file.write_text("")

        wait_for(lambda: b"docker login" not in visitor.get("/ui/").body)
        assert "v1registry_session" not in visitor.cookies


@needs("slapd", "openssl")
def test_accounts_of_a_directory(tmp_path):
    """The session keeps the groups that rules name. It is short: the registry sees no changes."""
    rules = [
        {"who": "@ops", "repositories": "team/*", "allow": ["pull", "push"]},
        {"who": "users", "repositories": "team/*", "allow": "pull"},
    ]
    one = engine.image("one")
    seed.image(tmp_path / "store", one.json, one.layer, one.ancestry, [one.checksum])
    seed.tags(tmp_path / "store/repositories/team/app", {"latest": one.id})
    (tmp_path / "slapd").mkdir()
    with Slapd(tmp_path / "slapd") as slapd:
        env = environment(
            None,
            rules,
            LDAP_URL=f"ldap://127.0.0.1:{slapd.port}",
            LDAP_START_TLS="true",
            LDAP_CA=str(slapd.certificate),
            LDAP_BASE=PEOPLE,
            LDAP_BIND_DN=ADMIN,
            LDAP_BIND_PASSWORD=ADMIN_PASSWORD,
            LDAP_GROUPS_BASE=GROUPS,
        )
        with Server(tmp_path / "store", env=env) as server:
            for name, may_push in (("ada", True), ("bob", False)):
                visitor = Visitor(server)
                answer = visitor.sign_in(name, LDAP_PASSWORD)
                assert any("Max-Age=3600" in line for line in answer.all("Set-Cookie"))
                page = visitor.get("/ui/repositories/team/app").body
                assert (b"Make it private" in page) == may_push
            slapd.stop()
            assert visitor.get("/ui/repositories/team/app").status == 200
            answer = Visitor(server).sign_in("ada", LDAP_PASSWORD + "x")
            assert answer.status == 503


def test_a_trusted_proxy_names_the_user(tmp_path):
    env = environment(None, ACCOUNTS_USER_HEADER="X-User")
    with Server(tmp_path / "store", env=env) as server:
        page = raw.get(server, "/ui/", {"X-User": "ann"}).body
        assert b"ann</span>" in page
        assert b"Sign out" not in page
        assert b"Sign in" not in page


def test_a_registry_of_another_index_says_why_it_shows_nothing(tmp_path):
    env = {"STANDALONE": "false", "INDEX_ENDPOINT": "http://127.0.0.1:1"}
    with Server(tmp_path / "store", env=env) as server:
        answer = raw.get(server, "/ui/")
        assert answer.status == 200
        assert b"A separate index decides" in answer.body


def test_an_index_without_a_registry(tmp_path):
    env = {
        "INDEX_DATABASE": f"sqlite:///{tmp_path}/index.db",
        "INDEX_ALONE": "true",
        "REGISTRY_ENDPOINTS": "registry.example.org",
    }
    with Server(tmp_path / "store", env=env) as server:
        database = open_database(env["INDEX_DATABASE"])
        AccountStore(database, here).add("ann", PASSWORD)
        database.close()
        visitor = Visitor(server)
        assert visitor.sign_in("ann").status == 303
        assert b"Nothing has been pushed" in visitor.get("/ui/").body


def test_an_open_read_only_store_without_a_secret_can_be_looked_at(tmp_path):
    one = engine.image("one")
    seed.image(tmp_path / "store", one.json, one.layer, one.ancestry, [one.checksum])
    seed.tags(tmp_path / "store/repositories/team/app", {"latest": one.id})
    with Server(tmp_path / "store", env={"READ_ONLY": "true"}) as server:
        visitor = Visitor(server)
        page = visitor.get("/ui/repositories/team/app")
        assert page.status == 200
        assert b"Delete" not in page.body
        assert page.all("Set-Cookie") == []
        assert visitor.post("/ui/repositories/delete/team/app").status == 503


def test_a_read_only_store_without_a_secret_refuses_sessions(tmp_path):
    file = password_file(tmp_path, ["ann"])
    (tmp_path / "store" / "repositories").mkdir(parents=True)
    env = environment(file, READ_ONLY="true")
    with Server(tmp_path / "store", env=env) as server:
        answer = raw.get(server, "/ui/sign-in")
        assert answer.status == 503
        assert b"web.secret" in answer.body
        assert raw.get(server, "/ui/").status == 200
    with Server(tmp_path / "store", env={**env, "WEB_SECRET": "0123456789abcdef"}) as server:
        assert Visitor(server).sign_in("ann", "open sesame").status == 303


# -- languages --------------------------------------------------------------------------------------


def test_the_language_is_chosen_and_kept(site: Site):
    visitor = Visitor(site.server, Accept_Language="zh-CN,zh;q=0.9,en;q=0.8")
    assert b'<html lang="zh-Hans">' in visitor.get("/ui/").body
    answer = visitor.get("/ui/?language=en")
    assert b'<html lang="en">' in answer.body
    assert b'<html lang="en">' in visitor.get("/ui/sign-in").body
    assert b'<html lang="en">' in raw.get(site.server, "/ui/?language=xx").body
    assert visitor.cookies["v1registry_language"] == "en"
