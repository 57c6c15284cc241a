"""URLs that stores name (tokens, catalogs, uploads) never make the driver send credentials without TLS."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from tests.backends.fakegcs import FakeGcs
from tests.backends.glance import OPTIONS as GLANCE
from tests.backends.glance import Glance
from tests.backends.glancekeystone import FakeKeystone
from tests.backends.keystone import Keystone
from tests.backends.quirky import Answer, Asked, Quirky
from tests.backends.swift import OPTIONS as SWIFT
from tests.backends.swift import Swift
from tests.tls import Certificate, make_certificate
from v1registry.storage import retry
from v1registry.storage.errors import Refused, StorageError
from v1registry.storage.gcs.json_api import GcsStorage
from v1registry.storage.glance.client import GlanceClient
from v1registry.storage.glance.driver import GlanceStorage
from v1registry.storage.origins import Insecure, joined, origin, secured
from v1registry.storage.swift.client import SwiftAccount
from v1registry.storage.swift.driver import SwiftStorage

LAYER = "images/" + "a" * 64 + "/layer"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def works(storage: SwiftStorage | GcsStorage | GlanceStorage) -> bool:
    key = f"{secrets.token_hex(8)}/key"
    storage.put(key, b"value")
    value = storage.get(key)
    storage.delete(key)
    return value == b"value"


def replaced(old: str, new: str) -> object:
    """Replace a text in every response."""

    def after(asked: Asked, answer: Answer) -> Answer:
        headers = [(name, value.replace(old, new)) for name, value in answer.headers]
        return Answer(answer.status, headers, answer.body.replace(old.encode(), new.encode()))

    return after


# -- Swift ---------------------------------------------------------------------------------------


def secure_swift(made: Certificate, quirky: Quirky, path: str, **more: object) -> dict[str, object]:
    return {"swift_authurl": quirky.url + path, "swift_cacert": str(made.certificate), **more}


@pytest.mark.parametrize("named", ["http://127.0.0.1", "http://127.0.0.1:8080"])
def test_a_plain_storage_url_on_the_same_host(swift: Swift, made: Certificate, named: str) -> None:
    """Swift names it behind a proxy that ends TLS, without `storage_url_scheme`."""
    with Quirky(swift.port, made) as quirky:
        quirky.after = replaced(f"http://127.0.0.1:{quirky.port}", named)
        assert works(SwiftStorage(swift.options(**secure_swift(made, quirky, "/auth/v1.0"))))
        assert [asked.method for asked in quirky.asked if "AUTH_test" in asked.path] == [
            "PUT",
            "GET",
            "DELETE",
        ]


def test_a_plain_storage_url_elsewhere(swift: Swift, made: Certificate) -> None:
    with Quirky(swift.port, made) as quirky, Quirky(swift.port) as plain:
        quirky.after = replaced(f"http://127.0.0.1:{quirky.port}", f"http://localhost:{plain.port}")
        storage = SwiftStorage(swift.options(**secure_swift(made, quirky, "/auth/v1.0")))
        with pytest.raises(Refused, match="uses https, but names the unencrypted address"):
            storage.prepare()
        assert plain.asked == []


def test_a_plain_endpoint_in_keystones_catalog(swift: Swift, made: Certificate) -> None:
    with Keystone(swift) as keystone, Quirky(keystone.port, made) as quirky:
        quirky.after = replaced("http://127.0.0.1:", "http://localhost:")
        own = secure_swift(made, quirky, "/v3")
        with pytest.raises(Refused, match="unencrypted address 'http://localhost:"):
            SwiftStorage(keystone.options(**own)).prepare()


@pytest.mark.parametrize("path", ["/auth/v1.0", "/v3"])
@pytest.mark.parametrize("tls", [True, False])
def test_a_redirect_does_not_carry_the_password(
    swift: Swift, made: Certificate, path: str, tls: bool
) -> None:
    with (
        Keystone(swift) as keystone,
        Quirky(swift.port, made if tls else None) as quirky,
        Quirky(swift.port, made if tls else None) as other,
    ):
        quirky.before = lambda asked: Answer(307, [("Location", other.url + asked.path)])
        options = keystone.options() if path == "/v3" else swift.options()
        with pytest.raises(StorageError):
            SwiftStorage({**options, **secure_swift(made, quirky, path)}).prepare()
        assert quirky.asked
        assert other.asked == []


# -- Glance --------------------------------------------------------------------------------------


@pytest.fixture
def keystone() -> Iterator[FakeKeystone]:
    with FakeKeystone() as fake:
        fake.add("ann", "right", project="p", roles=["member"])
        yield fake


def glance_options(glance: Glance, folder: Path, made: Certificate, url: str) -> dict[str, object]:
    more = {"glance_authurl": url, "glance_cacert": str(made.certificate), "glance_url": None}
    return glance.account().options(folder, **more)


def test_keystones_plain_versions_and_plain_glance(
    glance: Glance, made: Certificate, tmp_path: Path
) -> None:
    """Keystone names its versions by plain URLs if it does not know of the proxy before it."""
    with (
        Quirky(glance.keystone.port, made) as quirky,
        Quirky(glance.port) as plain,
    ):
        quirky.after = replaced(glance.url, f"http://localhost:{plain.port}")
        options = glance_options(glance, tmp_path, made, quirky.url)
        with pytest.raises(Refused, match="unencrypted address 'http://localhost:"):
            GlanceClient(options).request("GET", "/v2/images", "key")
        assert [asked.method for asked in quirky.asked].count("POST") == 1  # the token
        assert plain.asked == []
        # what the configuration itself names is meant
        options["glance_url"] = plain.url
        assert GlanceClient(options).request("GET", "/v2/images", "key").status_code == 200
        assert plain.asked


def test_a_redirect_of_keystone(glance: Glance, made: Certificate, tmp_path: Path) -> None:
    with Quirky(glance.keystone.port) as quirky, Quirky(glance.keystone.port) as other:
        quirky.before = lambda asked: Answer(308, [("Location", other.url + asked.path)])
        with pytest.raises(StorageError):
            options = glance_options(glance, tmp_path, made, f"{quirky.url}/v3")
            GlanceClient(options).request("GET", "/v2/images", "key")
        assert other.asked == []


# -- GCS -----------------------------------------------------------------------------------------


def gcs(fake: FakeGcs, url: str) -> GcsStorage:
    root = secrets.token_hex(8)
    options = fake.options(storage_path=f"/{root}", gcs_endpoint=url, gcs_chunk_size=256 * 1024)
    return GcsStorage(options)


def test_an_upload_whose_session_is_plain(
    fake_gcs: FakeGcs, made: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.certificate))
    with Quirky(fake_gcs.port, made) as quirky, Quirky(fake_gcs.port) as plain:
        storage, data = gcs(fake_gcs, quirky.url), secrets.token_bytes(600 * 1024)
        handle = storage.stage(LAYER, [data])
        with storage.open_staged(handle) as blob:
            assert blob.read() == data
        assert sum(asked.method == "PUT" for asked in quirky.asked) == 3
        quirky.after = replaced(f"http://{quirky.host}", f"http://localhost:{plain.port}")
        with pytest.raises(Refused, match="unencrypted address"):
            storage.stage(LAYER, [data])
        assert plain.asked == []


def test_an_upload_whose_session_is_elsewhere_gets_no_token(fake_gcs: FakeGcs) -> None:
    """The session's URL is a credential itself, so the upload continues without ours."""
    with Quirky(fake_gcs.port) as quirky, Quirky(fake_gcs.port) as other:
        shown: list[str | None] = []

        def before(asked: Asked) -> None:
            shown.append(asked.headers.get("authorization"))
            asked.headers["authorization"] = f"Bearer {fake_gcs.new_token()}"  # the fake demands it

        other.before = before
        quirky.after = replaced(f"http://{quirky.host}", other.url)
        gcs(fake_gcs, quirky.url).stage(LAYER, [bytes(600 * 1024)])
        assert shown == [None, None, None]


def test_a_redirect_of_gcs_is_not_followed(fake_gcs: FakeGcs) -> None:
    """Google's library would follow it, also to a URL that requests cannot parse."""
    with Quirky(fake_gcs.port) as quirky, Quirky(fake_gcs.port) as other:
        storage = gcs(fake_gcs, quirky.url)
        for url in (other.url, "http://h:port\\x"):
            quirky.before = lambda asked, url=url: (  # type: ignore[misc]
                None if asked.path.startswith("/token") else Answer(307, [("Location", url)])
            )
            with pytest.raises(Refused, match="a: 307 GET"):
                storage.stat("a")
        assert other.asked == []


def test_an_upload_whose_session_has_no_url(fake_gcs: FakeGcs) -> None:
    with Quirky(fake_gcs.port) as quirky:
        quirky.after = lambda asked, answer: Answer(200) if "upload" in asked.path else answer
        with pytest.raises(Refused, match="'' is not an http:// or https:// URL"):
            gcs(fake_gcs, quirky.url).stage(LAYER, [bytes(600 * 1024), bytes(600 * 1024)])


def test_googles_token_server_redirects_nowhere(fake_gcs: FakeGcs, tmp_path: Path) -> None:
    """The request contains an assertion that the account's key signed."""
    with Quirky(fake_gcs.port) as tokens, Quirky(fake_gcs.port) as other:
        tokens.before = lambda asked: Answer(307, [("Location", other.url + asked.path)])
        account = {**fake_gcs.account(), "token_uri": f"{tokens.url}/token"}
        (tmp_path / "account.json").write_text(json.dumps(account))
        options = fake_gcs.options(gcs_credentials=str(tmp_path / "account.json"))
        with pytest.raises(StorageError):
            GcsStorage(options).put("a", b"")
        assert tokens.asked
        assert other.asked == []


# -- the rule ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "base", "result"),
    [
        ("http://r.example/a?b", "https://r.example", "https://r.example/a?b"),
        ("http://R.example:80/a", "https://r.example:5443", "https://r.example:5443/a"),
        ("http://u:p@r.example/a", "https://r.example", "https://r.example/a"),
        ("http://r.example/a", "http://r.example", "http://r.example/a"),
        ("http://o.example/a", "http://r.example", "http://o.example/a"),
        ("https://o.example/a", "https://r.example", "https://o.example/a"),
        ("HTTP://[::1]/a", "https://[::1]:5443", "https://[::1]:5443/a"),
    ],
)
def test_secured(url: str, base: str, result: str) -> None:
    assert secured(url, base) == result


@pytest.mark.parametrize(
    "url",
    [
        *("http://o.example/a", "http://r.example.evil/", "http://r.example@o.example/", "//x", ""),
        *("https://r.exa\tmple/",),
    ],
)
def test_insecure(url: str) -> None:
    with pytest.raises(Insecure):
        secured(url, "https://r.example")


def test_origins() -> None:
    assert (
        origin("HTTPS://R.example")
        == origin("https://r.example:443/x")
        != origin("http://r.example:443")
    )
    for url in ("ftp://r.example", "http://r.example:99999", "http://[", "https://"):
        with pytest.raises(Insecure):
            origin(url)
    with pytest.raises(Insecure):
        joined("http://r.example", "http://[")


def url_texts() -> st.SearchStrategy[str]:
    """URLs, and texts that programs take for different URLs."""
    pieces = [
        "http",
        "https",
        "HTTPS",
        "ftp",
        ":",
        "//",
        "/",
        "\\\\",
        "\\",
        "@",
        "?",
        "#",
        "%2f",
        "%5c",
        "%00",
    ]
    pieces += [
        "r.example",
        "R.Example",
        "o.example",
        "r.example.",
        "[::1]",
        "[",
        "]",
        ":80",
        ":443",
        ":0",
    ]
    pieces += [
        ":5443",
        ":",
        "u:p",
        " ",
        "\t",
        "\r",
        "\0",
        "\x7f",
        "\xa0",
        "x",
        ";",
        "..",
        "+",
        "_",
        "*",
    ]
    noise = st.lists(st.sampled_from(pieces), max_size=4).map("".join)
    hosts = st.sampled_from(["r.example", "R.EXAMPLE", "o.example", "[::1]"])
    schemes = st.sampled_from(["http://", "https://", "HTTPS://", "//", "https:/", " http://", ""])
    return st.builds("".join, st.tuples(schemes, noise, hosts, noise)) | noise


def destination(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port to which requests connects; None if it refuses the URL."""
    try:
        parts = parse_url(str(requests.Request("GET", url).prepare().url))
    except (requests.RequestException, LocationParseError):
        return None
    if parts.scheme not in ("http", "https") or not parts.host:
        return None
    return (
        parts.scheme,
        parts.host.strip("[]"),
        parts.port or {"http": 80, "https": 443}[parts.scheme],
    )


@settings(max_examples=300, deadline=None)
@given(url_texts())
@example("https://o.example\\@r.example/")
def test_the_origin_of_any_text_is_where_requests_connects(url: str) -> None:
    with contextlib.suppress(Insecure):
        found = origin(url)
        assert destination(url) in (found, None)


@settings(max_examples=300, deadline=None)
@given(
    url_texts(),
    st.sampled_from(
        ["https://r.example", "https://R.example:5443/x", "http://r.example", "https://[::1]"]
    ),
)
def test_a_url_that_a_server_names_never_leaves_tls(url: str, base: str) -> None:
    with contextlib.suppress(Insecure):
        used = secured(joined(base, url), base)
        there = destination(used)
        own = origin(base)
        assert used == joined(base, url) or there in (own, None)
        if own[0] == "https" and there is not None:
            assert there[0] == "https"
            named = destination(joined(base, url))
            assert named is not None
            assert there[1] == named[1]


# -- any text where a server names a URL ---------------------------------------------------------


class Namers:
    """Servers that name `url`, each in one place where a driver or its library reads a URL."""

    def __init__(self, folder: Path, keystone: FakeKeystone, quirky: Quirky, fake: FakeGcs) -> None:
        self._folder = folder
        self._keystone = keystone
        self._quirky = quirky  # before nothing: `before` answers
        self._gcs = fake
        account = {**fake.account(), "token_uri": f"{quirky.url}/token"}
        (folder / "account.json").write_text(json.dumps(account))

    def _redirects(self, status: int, url: str) -> Answer:
        return Answer(status, [("Location", url.encode().decode("latin-1"))])

    def _swift(self, storage_url: str, answer: Answer) -> object:
        found = [("X-Storage-Url", storage_url.encode().decode("latin-1")), ("X-Auth-Token", "t")]
        self._quirky.before = lambda asked: (
            Answer(200, found) if asked.path.startswith("/auth") else answer
        )
        return self._swift_login()

    def _swift_login(self) -> object:
        return SwiftStorage({**SWIFT, "swift_authurl": f"{self._quirky.url}/auth/v1.0"}).get("a")

    def _glance(self, authurl: str, catalog: str) -> object:
        self._keystone.glance = catalog
        names = {"user": "ann", "password": "right", "tenant_name": "p", "authurl": authurl}
        own = {f"glance_{name}": value for name, value in names.items()}
        options = {**GLANCE, "storage_path": str(self._folder), "glance_url": None, **own}
        return GlanceClient(options).request("GET", "/v2/images", "a")

    def storage_url(self, status: int, url: str) -> object:
        return self._swift(url, Answer(404))

    def redirect_of_swift(self, status: int, url: str) -> object:
        return self._swift(f"{self._quirky.url}/v1/AUTH_test", self._redirects(status, url))

    def redirect_of_swifts_login(self, status: int, url: str) -> object:
        self._quirky.before = lambda asked: self._redirects(status, url)
        return self._swift_login()

    def catalog(self, status: int, url: str) -> object:
        return self._glance(f"{self._keystone.url}/v3", url)

    def version_of_keystone(self, status: int, url: str) -> object:
        """The discovery document names the URL of each version."""
        with Quirky(self._keystone.port) as versions:
            versions.after = replaced(json.dumps(f"{self._keystone.url}/v3/"), json.dumps(url))
            return self._glance(versions.url, self._quirky.url)

    def redirect_of_glance(self, status: int, url: str) -> object:
        self._quirky.before = lambda asked: self._redirects(status, url)
        return self._glance(f"{self._keystone.url}/v3", self._quirky.url)

    def _before_gcs(self, change: Callable[[Asked, Answer], Answer]) -> GcsStorage:
        self._front.after = lambda asked, answer: (
            answer if asked.path.startswith("/token") else change(asked, answer)
        )
        return gcs(self._gcs, self._front.url)

    @contextlib.contextmanager
    def fronted(self) -> Iterator[Namers]:
        with Quirky(self._gcs.port) as self._front:
            yield self

    def session_of_an_upload(self, status: int, url: str) -> object:
        named = self._redirects(200, url)
        storage = self._before_gcs(
            lambda asked, answer: named if "upload" in asked.path else answer
        )
        return storage.stage(LAYER, [bytes(300 * 1024), bytes(900 * 1024)])

    def redirect_of_gcs(self, status: int, url: str) -> object:
        return self._before_gcs(lambda asked, answer: self._redirects(status, url)).get("a")

    def redirect_of_gcs_to_its_library(self, status: int, url: str) -> object:
        return self._before_gcs(lambda asked, answer: self._redirects(status, url)).stat("a")

    def redirect_of_googles_tokens(self, status: int, url: str) -> object:
        self._quirky.before = lambda asked: self._redirects(status, url)
        credentials = str(self._folder / "account.json")
        return GcsStorage(self._gcs.options(gcs_credentials=credentials)).get("a")


@pytest.fixture
def namers(tmp_path: Path, keystone: FakeKeystone, fake_gcs: FakeGcs) -> Iterator[Namers]:
    with Quirky(0) as quirky, Namers(tmp_path, keystone, quirky, fake_gcs).fronted() as namers:
        yield namers


@pytest.mark.parametrize("place", sorted(name for name in vars(Namers) if name[0] not in "_f"))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(url_texts(), st.sampled_from([301, 302, 303, 307, 308]))
@example("http://h:port\\x", 302)
@example("http://127.0.0.1:99999/", 307)
@example("http://[", 302)
@example("http://\u2100.example/", 308)
@example("http://127.0.0.1:1/", 307)
@example("", 301)
def test_any_text_that_names_a_url_ends_in_a_storage_error(
    namers: Namers, place: str, url: str, status: int
) -> None:
    # a carriage return would end the header
    local = re.sub(r"(?i)[ro]\.example", "127.0.0.1", url).replace("\r", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "PAUSES", (0.0, 0.0, 0.0))
        with pytest.raises(StorageError, match=r"\w+: .*\w"):
            getattr(namers, place)(status, local)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("http://h/", "path must be full path to an object"),
        ("http://h:x/v1/AUTH_t", "'http://h:x/v1/AUTH_t' is not an http"),
        ("http://[", "Invalid IPv6 URL"),
    ],
)
def test_no_temporary_url_for_a_broken_account_url(
    keystone: FakeKeystone, named: str, message: str
) -> None:
    keystone.glance = named
    with Quirky(keystone.port) as front:
        front.after = replaced('"image"', '"object-store"')
        own = {"user": "ann", "password": "right", "tenant_name": "p", "authurl": f"{front.url}/v3"}
        options = {**SWIFT, **{f"swift_{name}": value for name, value in own.items()}}
        account = SwiftAccount(options)
        with pytest.raises(Refused, match=message):
            account.temporary_url("a", "key", "sha256", 1)
