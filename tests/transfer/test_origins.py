"""The servers to which `migrate` sends credentials and layers, for any URL that a registry names."""

from __future__ import annotations

import base64
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from tests.backends.quirky import Answer, Asked, Quirky
from tests.backends.v2registry import V2Registry
from tests.tls import Certificate, make_certificate
from tests.transfer.test_remote import Bytes, remote
from v1registry.transfer.credentials import RegistryLogin
from v1registry.transfer.errors import Rejected, TransferError, Unreachable
from v1registry.transfer.http import Http
from v1registry.transfer.remote import Remote

ANN = RegistryLogin("ann", "pw")
BASIC = "Basic " + base64.b64encode(b"ann:pw").decode()
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def push(there: Remote, repository: str = "") -> None:
    repository, blob = (
        repository or f"t/{secrets.token_hex(4)}",
        Bytes(secrets.token_bytes(3 * MIB)),
    )
    there.upload(repository, blob, there.begin(repository), lambda count: None)
    assert there.has_blob(repository, blob.digest, blob.size)


def wants_basic(asked: Asked) -> Answer | None:
    if asked.headers.get("authorization") == BASIC:
        return None
    return Answer(401, [("WWW-Authenticate", 'Basic realm="r"')])


def named(scheme: str, host: str) -> object:
    """Make the registry name absolute URLs of this origin, as behind a proxy that terminates TLS."""

    def after(asked: Asked, answer: Answer) -> Answer:
        headers = [
            (name, f"{scheme}://{host}/{value.partition('://')[2].partition('/')[2]}")
            if name == "Location"
            else (name, value)
            for name, value in answer.headers
        ]
        return Answer(answer.status, headers, answer.body)

    return after


@pytest.mark.parametrize("port", ["", ":80", ":5000", ":same"])
def test_a_plain_location_on_the_same_host_is_used_over_https(
    go: V2Registry, made: Certificate, port: str
) -> None:
    with Quirky(go.port, made) as quirky:
        quirky.before = wants_basic
        quirky.after = named("http", "127.0.0.1" + port.replace("same", str(quirky.port)))
        push(remote(quirky.url, account=ANN, verify=str(made.certificate), chunk=MIB))
        assert sum(asked.method == "PATCH" for asked in quirky.asked) == 3


def test_a_plain_location_on_another_host_stops(go: V2Registry, made: Certificate) -> None:
    with Quirky(go.port, made) as quirky, Quirky(go.port) as plain:
        quirky.after = named("http", f"localhost:{plain.port}")
        there = remote(quirky.url, account=ANN, verify=str(made.certificate))
        with pytest.raises(Rejected, match=f"unencrypted address 'http://localhost:{plain.port}/"):
            push(there)
        assert plain.asked == []


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "http://[/x", "https://127.0.0.1:x/y"])
def test_a_location_that_is_not_a_url_stops(go: V2Registry, location: str) -> None:
    with Quirky(go.port) as quirky:
        quirky.after = lambda asked, answer: Answer(answer.status, [("Location", location)])
        with pytest.raises(TransferError, match="is not an http"):
            push(remote(quirky.url))


@pytest.mark.parametrize("tls", [True, False])
def test_another_origin_gets_no_credentials(go: V2Registry, made: Certificate, tls: bool) -> None:
    with Quirky(go.port, made if tls else None) as quirky, Quirky(go.port, made) as store:
        quirky.before = wants_basic
        quirky.after = store.after = named("https", store.host)
        push(remote(quirky.url, account=ANN, verify=str(made.certificate)))
        uploads = [asked for asked in store.asked if asked.method in ("PATCH", "PUT")]
        assert len(uploads) == 2
        assert all("authorization" not in asked.headers for asked in store.asked)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_redirects_do_not_leave_tls(go: V2Registry, made: Certificate, method: str) -> None:
    with Quirky(go.port, made) as quirky, Quirky(go.port) as plain:
        there = remote(quirky.url, account=ANN, verify=str(made.certificate))
        there.check()
        quirky.before = lambda asked: (
            Answer(307, [("Location", f"http://localhost:{plain.port}{asked.path}")])
            if asked.method == method
            else None
        )
        with pytest.raises(Rejected, match="unencrypted address"):
            if method == "HEAD":
                there.has_blob("t/x", "sha256:" + "0" * 64, 1)
            else:
                there.get_manifest("t/x", "1", "*/*")
        assert plain.asked == []


def test_redirects_on_the_same_host_keep_credentials_and_tls(
    go: V2Registry, made: Certificate
) -> None:
    """A signed URL of another host gets none; `http://` on the same host becomes https."""
    with Quirky(go.port, made) as quirky:

        def before(asked: Asked) -> Answer | None:
            if asked.method == "HEAD" and "?" not in asked.path:
                return Answer(307, [("Location", f"http://127.0.0.1{asked.path}?again")])
            return wants_basic(asked)

        quirky.before = before
        push(remote(quirky.url, account=ANN, verify=str(made.certificate)))


def test_redirects_in_a_circle_end(go: V2Registry) -> None:
    with Quirky(go.port) as quirky:
        quirky.before = lambda asked: Answer(302, [("Location", asked.path)])
        with pytest.raises(Rejected, match="more than 5 redirects"):
            remote(quirky.url).check()
        assert len(quirky.asked) == 5


def test_a_redirect_to_https_names_the_url_to_use(go: V2Registry, made: Certificate) -> None:
    with Quirky(go.port, made) as secure, Quirky(go.port) as plain:
        plain.before = lambda asked: Answer(
            301, [("Location", plain.url.replace("http", "https") + asked.path)]
        )
        with pytest.raises(Rejected, match=f"use --to https://{plain.host}"):
            remote(plain.url, account=ANN, verify=str(made.certificate)).check()
        assert secure.asked == []


# -- token servers -------------------------------------------------------------------------------


def bearer(realm: str) -> object:
    def before(asked: Asked) -> Answer | None:
        if asked.path.startswith("/token"):
            return Answer(200, [], b'{"token": "TOKEN"}')
        if asked.headers.get("authorization") == "Bearer TOKEN":
            del asked.headers["authorization"]
            return None
        return Answer(401, [("WWW-Authenticate", f'Bearer realm="{realm}",service="s"')])

    return before


@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
def test_a_plain_realm_on_the_same_host_is_asked_over_https(
    go: V2Registry, made: Certificate, scheme: str
) -> None:
    with Quirky(go.port, made) as quirky:
        quirky.before = bearer(f"{scheme}://127.0.0.1:{quirky.port}/token")
        push(remote(quirky.url, account=ANN, verify=str(made.certificate)))
        tokens = [asked for asked in quirky.asked if asked.path.startswith("/token")]
        assert {asked.headers["authorization"] for asked in tokens} == {BASIC}


def test_a_plain_realm_elsewhere_stops(go: V2Registry, made: Certificate) -> None:
    with Quirky(go.port, made) as quirky, Quirky(go.port) as plain:
        quirky.before = bearer(f"http://localhost:{plain.port}/token")
        with pytest.raises(Rejected, match=r"no token: .* unencrypted address"):
            push(remote(quirky.url, account=ANN, verify=str(made.certificate)))
        assert plain.asked == []


@pytest.mark.parametrize("account", [ANN, RegistryLogin("", "", "refresh-me")])
@pytest.mark.parametrize("tls", [True, False])
def test_a_token_server_that_redirects_elsewhere_gets_us_nowhere(
    go: V2Registry, made: Certificate, account: RegistryLogin, tls: bool
) -> None:
    with (
        Quirky(go.port) as quirky,
        Quirky(go.port) as tokens,
        Quirky(go.port, made if tls else None) as other,
    ):
        quirky.before = bearer(f"{tokens.url}/token")
        tokens.before = lambda asked: Answer(307, [("Location", f"{other.url}{asked.path}")])
        with pytest.raises(Rejected, match="it answered 307"):
            push(remote(quirky.url, account=account, verify=str(made.certificate)))
        assert other.asked == []


def test_a_token_server_may_redirect_on_its_own_host(go: V2Registry) -> None:
    with Quirky(go.port) as quirky:
        token = bearer(f"{quirky.url}/auth")

        def before(asked: Asked) -> Answer | None:
            if asked.path.startswith("/auth"):
                return Answer(302, [("Location", f"/token{asked.path[5:]}")])
            return token(asked)  # type: ignore[operator]

        quirky.before = before
        push(remote(quirky.url, account=ANN))
        tokens = [asked for asked in quirky.asked if asked.path.startswith("/token")]
        assert tokens[0].path.count("service=s") == 1
        assert tokens[0].headers["authorization"] == BASIC


def test_an_old_journal_does_not_lead_out_of_tls(
    go: V2Registry, made: Certificate, tmp_path: Path
) -> None:
    """Locations in the journal are also compared with the registry's origin."""
    with Quirky(go.port, made) as quirky, Quirky(go.port) as plain:
        quirky.after = named("http", f"localhost:{plain.port}")
        there = remote(quirky.url, account=ANN, verify=str(made.certificate))
        with pytest.raises(Rejected, match="unencrypted address"):
            there.upload(
                "t/x",
                Bytes(b"x"),
                f"http://localhost:{plain.port}/v2/t/x/blobs/uploads/1",
                lambda count: None,
                resumed=True,
            )
        assert plain.asked == []


# -- several challenges --------------------------------------------------------------------------

WANTED = {
    "Bearer, then Basic": ["{bearer}", 'Basic realm="r"'],
    "Basic, then Bearer": ['Basic realm="r"', "{bearer}"],
    "both in one": ['{bearer}, Basic realm="r"'],
    "both in one, Basic first": ['Basic realm="r", {bearer}'],
    "an unknown one first": ["Negotiate", 'Basic realm="r"'],
    "an unknown one first, in one": ["Negotiate abc==, {bearer}"],
    "without a realm": ["Basic"],
    "in capitals": ['BASIC realm="Sonatype Nexus Repository Manager"'],
}


@pytest.mark.parametrize("what", WANTED)
def test_the_first_supported_challenge_is_answered(go: V2Registry, what: str) -> None:
    with Quirky(go.port) as quirky:
        bearer = f'Bearer realm="{quirky.url}/token",service="s"'
        named = [text.format(bearer=bearer) for text in WANTED[what]]
        used: set[str | None] = set()

        def before(asked: Asked) -> Answer | None:
            if asked.path.startswith("/token"):
                return Answer(200, [], b'{"token": "TOKEN"}')
            shown = asked.headers.pop("authorization", None)
            used.add(shown)
            if shown in (BASIC, "Bearer TOKEN"):
                return None
            return Answer(401, [("WWW-Authenticate", text) for text in named])

        quirky.before = before
        push(remote(quirky.url, account=ANN))
        words = " ".join(named).lower()
        first_is_basic = 0 <= words.find("basic") < words.find("bearer") or "bearer" not in words
        assert used == {None, BASIC if first_is_basic else "Bearer TOKEN"}
        if "bearer" in words:  # without a login, with an anonymous token
            push(remote(quirky.url))
            assert "Bearer TOKEN" in used


def test_a_token_that_may_not_write_gives_way_to_basic(go: V2Registry) -> None:
    with Quirky(go.port) as quirky:

        def before(asked: Asked) -> Answer | None:
            if asked.path.startswith("/token"):
                return Answer(200, [], b'{"token": "TOKEN"}')
            shown = asked.headers.pop("authorization", None)
            if shown == BASIC or (shown == "Bearer TOKEN" and asked.method in ("GET", "HEAD")):
                return None
            if shown == "Bearer TOKEN":
                return Answer(401, [("WWW-Authenticate", 'Basic realm="harbor"')])
            return Answer(401, [("WWW-Authenticate", f'Bearer realm="{quirky.url}/token"')])

        quirky.before = before
        push(remote(quirky.url, account=ANN))
        assert sum(asked.method == "PATCH" for asked in quirky.asked) == 1


@pytest.mark.parametrize("what", ["Bearer, then Basic", "both in one"])
@pytest.mark.parametrize("cached", [True, False])
def test_a_token_that_does_not_help_gives_way_to_basic(
    go: V2Registry, what: str, cached: bool
) -> None:
    """The registry offers both, and accepts only the last one."""
    with Quirky(go.port) as quirky:
        bearer = f'Bearer realm="{quirky.url}/token",service="s"'
        named = [("WWW-Authenticate", text.format(bearer=bearer)) for text in WANTED[what]]
        accepted = {BASIC, "Bearer TOKEN"} if cached else {BASIC}

        def before(asked: Asked) -> Answer | None:
            if asked.path.startswith("/token"):
                return Answer(200, [], b'{"token": "TOKEN"}')
            return (
                None if asked.headers.pop("authorization", "") in accepted else Answer(401, named)
            )

        quirky.before = before
        there, repository = remote(quirky.url, account=ANN), f"t/{secrets.token_hex(4)}"
        push(there, repository)  # tokens are kept for this repository
        accepted.discard("Bearer TOKEN")
        push(there, repository)


@pytest.mark.parametrize("header", ["Negotiate", 'Digest realm="r", nonce="x"', '"'])
def test_unknown_challenges_are_named(go: V2Registry, header: str) -> None:
    with Quirky(go.port) as quirky:
        quirky.before = lambda asked: Answer(401, [("WWW-Authenticate", header)])
        known = header.partition(" ")[0].lower() if header != '"' else "nothing"
        with pytest.raises(Rejected, match=f"accepts {known}; only Basic and Bearer are supported"):
            remote(quirky.url, account=ANN).check()


# -- any location and realm ----------------------------------------------------------------------


@dataclass
class Origins:
    """Servers of different origins. `locations` and `realm` are what all of them name."""

    secure: Quirky
    other: Quirky
    plain: Quirky
    locations: list[str] = field(default_factory=list)
    realm: str = ""

    def named(self, template: str) -> str:
        ports = {name: getattr(self, name).port for name in ("secure", "other", "plain")}
        return template.format(**ports)

    def begin(self, locations: list[str], realm: str) -> None:
        self.locations = [self.named(location) for location in locations]
        self.realm = self.named(realm)
        for server in (self.secure, self.other, self.plain):
            server.asked.clear()
            server.before = self.answer

    def answer(self, asked: Asked) -> Answer:
        is_token = asked.path.startswith("/token")
        if "authorization" not in asked.headers and self.realm and not is_token:
            quoted = self.realm.replace("\\", "\\\\")
            parts = [f'Bearer realm="{quoted}"', 'Basic realm="r"']
            return Answer(401, [("WWW-Authenticate", ", ".join(parts[self.realm == "basic" :]))])
        if self.locations and not asked.path.startswith("/token?"):
            return Answer(307, [("Location", self.locations.pop(0))])
        return Answer(200, [], b'{"token": "TOKEN"}')


@pytest.fixture(scope="module")
def origins(made: Certificate) -> Iterator[Origins]:
    with Quirky(0, made) as secure, Quirky(0, made) as other, Quirky(0) as plain:
        yield Origins(secure, other, plain)


def urls(path: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return texts that a server may name; only hosts of the loopback interface are in them."""
    schemes = [
        "http://",
        "https://",
        "http://",
        "https://",
        "HTTPS://",
        "//",
        "",
        "https:",
        "ftp://",
    ]
    users = [
        "",
        "",
        "",
        "u:p@",
        "localhost:{other}\\@",
        "localhost:{plain}\\@",
        "localhost:{other}/@",
    ]
    hosts = ["127.0.0.1", "localhost", "LocalHost", "127.0.0.1.", "[::1]", "127.0.0.1\\", ""]
    ports = [":{secure}", ":{other}", ":{plain}", ":{secure}", ":{other}", "", ":", ":x", ":99999"]
    parts = [st.sampled_from(choices) for choices in (schemes, users, hosts, ports)]
    return st.tuples(*parts, path).map("".join)


def port_of(url: str) -> int | None:
    with contextlib.suppress(LocationParseError):
        return parse_url(url).port
    return None


LOCATIONS = st.lists(urls(st.sampled_from(["/v2/x", "", "?q", "\\x", "/a b"])), max_size=3)
REALMS = urls(st.sampled_from(["/token", "/token?a=b", "/token/moved"])) | st.sampled_from(
    ["", "basic"]
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    locations=LOCATIONS,
    realm=REALMS,
    method=st.sampled_from(["GET", "HEAD", "PUT"]),
    tls=st.booleans(),
    first=st.just("/v2/") | urls(st.just("/v2/")),
)
@example([], "http://localhost:{plain}/token", "GET", True, "/v2/")
@example(
    ["https://localhost:{other}/v2/x"], "https://127.0.0.1:{secure}/token", "GET", True, "/v2/"
)
@example(["https://localhost:{other}\\@127.0.0.1:{secure}/v2/"], "basic", "GET", True, "/v2/")
def test_no_location_or_realm_takes_credentials_elsewhere(
    origins: Origins,
    made: Certificate,
    locations: list[str],
    realm: str,
    method: str,
    tls: bool,
    first: str,
) -> None:
    """`first`: a location that the registry named for an upload."""
    origins.begin(locations, realm)
    registry = origins.secure if tls else origins.plain
    there = Http(registry.url, ANN, verify=str(made.certificate), first_wait=0)
    with contextlib.suppress(Rejected, Unreachable):
        there.send(method, origins.named(first), tries=1, good=(200, 307))
    there._session().close()
    if tls:
        assert origins.plain.asked == []
    for server in (origins.secure, origins.other, origins.plain):
        shown = {asked.headers.get("authorization") for asked in server.asked} - {None}
        # The server of the realm gets the password, and may redirect to itself.
        allowed = {BASIC} if port_of(origins.realm) == server.port else set()
        assert server is registry or shown <= allowed
