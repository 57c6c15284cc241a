"""The pages of accounts, namespaces and invitations: every action over a socket, and in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests import raw
from tests.index.conftest import PASSWORD, here, open_database
from tests.live_server import Server
from tests.rights.accounts import basic
from tests.web.browser import WIDTHS, Chromium, accessible, screenshot, sign_in
from tests.web.client import Visitor
from tests.web.conftest import HOSTILE
from v1registry.index.accounts import AccountStore
from v1registry.index.namespaces import Namespaces
from v1registry.index.repositories import RepositoryRecords
from v1registry.lib.names import RepositoryName

NEW = "secret-2"


@dataclass(frozen=True)
class Registry:
    """A running server with an index, and the services on its database."""

    server: Server
    accounts: AccountStore
    namespaces: Namespaces

    def visitor(self, name: str, password: str = PASSWORD) -> Visitor:
        """Return a new session of this user."""
        visitor = Visitor(self.server)
        assert visitor.sign_in(name, password).status == 303
        return visitor

    def version(self, name: str) -> str:
        return self.accounts.get(name).version

    def login(self, name: str, password: str) -> int:
        """Return the status of `docker login`."""
        return raw.get(self.server, "/v1/users/", basic(name, password)).status


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """`root` and `boss` are administrators, `lead` one of the namespace `team`, `reader` a member."""
    folder = tmp_path_factory.mktemp("accounts")
    database = open_database(f"sqlite:///{folder}/index.db")
    accounts, namespaces = AccountStore(database, here), Namespaces(database)
    for name in ("boss", "lead", "reader", "root"):
        accounts.add(name, PASSWORD, email=f"{name}@example.org", is_admin=name in ("root", "boss"))
    accounts.add("ci-server", None)
    namespaces.add("team")
    for name in ("team/shop", "team/billing", "lead/notes"):
        RepositoryRecords(database, private=False).create(RepositoryName.parse(name))
    for name, role in (("lead", "admin"), ("reader", "pull"), ("ci-server", "push")):
        namespaces.grant(name, role, "team")
    namespaces.grant("reader", "push", "team/shop")
    environ = {"INDEX_DATABASE": f"sqlite:///{folder}/index.db", "INDEX_SIGN_UP": "invitation"}
    with Server(folder / "store", env=environ) as server:
        yield Registry(server, accounts, namespaces)
    database.close()


def secret_in(body: bytes, label: bytes) -> str:
    found = re.search(rb'aria-label="the ' + label + rb'"><code>([^<]+)</code>', body)
    assert found is not None, body
    return found[1].decode()


# -- a user's own account -------------------------------------------------------------------------


def test_a_changed_password_ends_all_other_sessions(registry: Registry):
    registry.accounts.add("changes", PASSWORD)
    here_, elsewhere = registry.visitor("changes"), registry.visitor("changes")
    path = "/ui/accounts/changes"
    here_.get(path)
    fields = {"current": PASSWORD, "password": NEW, "again": NEW}
    for wrong, status, text in (
        ({"current": "wrong-1"}, 401, b"The current password is wrong."),
        ({"again": "other"}, 400, b"The two passwords differ."),
        ({"password": "short", "again": "short"}, 400, b"at least 8 characters."),
    ):
        answer = here_.post(f"{path}/password", {**fields, **wrong})
        assert answer.status == status
        assert text in answer.body
    assert registry.login("changes", PASSWORD) == 200
    assert here_.post(f"{path}/password", fields).status == 303
    assert b"The password is changed." in here_.get(path).body
    assert (elsewhere.get(path).header("Location") or "").startswith("/ui/sign-in?next=")
    assert elsewhere.post(f"{path}/email", {"email": ""}).status == 403
    assert registry.visitor("changes", NEW).get(path).status == 200


def test_wrong_current_passwords_are_limited(registry: Registry):
    registry.accounts.add("guesser", PASSWORD)
    visitor = Visitor(registry.server, X_Forwarded_For="198.51.100.7")
    visitor.sign_in("guesser")
    fields = {"current": "wrong-1", "password": NEW, "again": NEW}
    statuses = [visitor.post("/ui/accounts/guesser/password", fields).status for _ in range(12)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


def test_a_token_is_shown_once_and_revoked(registry: Registry):
    registry.accounts.add("tokens", PASSWORD)
    visitor, path = registry.visitor("tokens"), "/ui/accounts/tokens"
    answer = visitor.post(f"{path}/tokens", {"label": HOSTILE, "life": "2592000"})
    assert answer.status == 200
    secret = secret_in(answer.body, b"access token")
    assert registry.login("tokens", secret) == 200
    page = visitor.get(path).body
    assert secret.encode() not in page
    assert b"<img src=x" not in page
    assert b"&lt;img src=x" in page
    [stored] = registry.accounts.secrets("tokens")
    assert b"<img src=x" not in visitor.get(f"{path}/tokens/{stored.id}/revoke").body
    other = registry.visitor("reader")
    assert other.post(f"{path}/tokens/{stored.id}/revoke").status == 403
    # a token of another account, by its number
    assert other.post(f"/ui/accounts/reader/tokens/{stored.id}/revoke").status == 404
    assert visitor.post(f"{path}/tokens/{stored.id}/revoke").status == 303
    assert registry.accounts.secrets("tokens") == []
    for fields in ({"life": "1"}, {"life": "", "label": "x" * 101}, {"life": "", "label": "a\0b"}):
        assert visitor.post(f"{path}/tokens", fields).status == 400
    for _ in range(100):
        registry.accounts.issue_secret("tokens")
    answer = visitor.post(f"{path}/tokens", {"life": ""})
    assert (answer.status, b"too many access tokens" in answer.body) == (400, True)


def test_a_token_of_the_account_does_not_open_the_forms(registry: Registry):
    secret = registry.accounts.issue_secret("reader")
    visitor = registry.visitor("reader")
    fields = {"current": secret, "password": NEW, "again": NEW}
    assert visitor.post("/ui/accounts/reader/password", fields).status == 403
    assert registry.login("reader", PASSWORD) == 200


def test_the_email_address_needs_the_password(registry: Registry):
    registry.accounts.add("mailer", PASSWORD, email="old@example.org")
    visitor, path = registry.visitor("mailer"), "/ui/accounts/mailer/email"
    fields = {"email": "new@example.org", "seen": registry.version("mailer")}
    assert visitor.post(path, {**fields, "current": "wrong-1"}).status == 401
    assert visitor.post(path, {**fields, "current": PASSWORD, "email": HOSTILE}).status == 400
    assert (
        visitor.post(path, {**fields, "current": PASSWORD, "email": "root@example.org"}).status
        == 400
    )
    assert registry.accounts.get("mailer").email == "old@example.org"
    assert visitor.post(path, {**fields, "current": PASSWORD}).status == 303
    assert registry.accounts.get("mailer").email == "new@example.org"


# -- administrators --------------------------------------------------------------------------------


def test_adding_accounts(registry: Registry):
    root = registry.visitor("root")
    person = {"name": "added", "password": NEW, "again": NEW, "email": "added@example.org"}
    assert root.post("/ui/accounts", {**person, "is_admin": "1"}).status == 303
    assert registry.accounts.get("added").is_admin
    assert registry.login("added", NEW) == 200
    assert root.post("/ui/accounts", {"name": "added-robot", "kind": "robot"}).status == 303
    assert registry.accounts.get("added-robot").is_robot
    for fields, text in (
        (person, b"already exists"),
        ({**person, "name": HOSTILE}, b"A user name has 2 to 64 characters"),
        ({**person, "name": "team", "email": ""}, b"in use already"),
        ({"name": "x y", "kind": "robot"}, b"A user name has 2 to 64 characters"),
    ):
        answer = root.post("/ui/accounts", fields)
        assert answer.status == 400
        assert text in answer.body
        assert b"<img src=x" not in answer.body
        assert NEW.encode() not in answer.body
    assert registry.visitor("reader").post("/ui/accounts", person).status == 403


def test_hostile_names_stay_text(registry: Registry):
    root, name = registry.visitor("root"), quote(HOSTILE, safe="")
    for path in (
        f"accounts/{name}",
        f"namespaces/{name}",
        f"accounts?q={name}",
        f"namespaces?after={name}",
    ):
        answer = root.get(f"/ui/{path}")
        assert answer.status in (200, 400, 404)
        assert b"<img src=x" not in answer.body, path
        assert b"<script>" not in answer.body, path


def test_two_administrators_at_once(registry: Registry):
    """A form that a change has made stale changes nothing, and says so."""
    registry.accounts.add("target", PASSWORD)
    root, boss, path = registry.visitor("root"), registry.visitor("boss"), "/ui/accounts/target"
    seen = registry.version("target")
    assert seen.encode() in root.get(path).body
    assert seen.encode() in boss.get(path).body
    disable = {"seen": seen, "is_admin": "0", "is_disabled": "1"}
    assert root.post(f"{path}/status", disable).status == 303
    answer = boss.post(f"{path}/status", {"seen": seen, "is_admin": "1", "is_disabled": "0"})
    assert answer.status == 409
    assert b"Another administrator has changed the account" in answer.body
    chinese = boss.post(f"{path}/remove", {"seen": seen}, Accept_Language="zh-CN").body.decode()
    assert "其他管理员" in chinese
    assert registry.accounts.get("target").is_disabled
    assert boss.post(f"{path}/remove", {"seen": seen}).status == 409
    assert boss.post(f"{path}/email", {"seen": seen, "email": "x@example.org"}).status == 409
    assert registry.version("target").encode() in answer.body  # the form is current again
    assert boss.post(f"{path}/remove", {"seen": registry.version("target")}).status == 303
    assert root.post(f"{path}/status", disable).status == 404
    assert root.get(path).status == 404


def test_a_disabled_account_is_signed_out(registry: Registry):
    registry.accounts.add("leaver", PASSWORD)
    leaver, root = registry.visitor("leaver"), registry.visitor("root")
    fields = {"seen": registry.version("leaver"), "is_admin": "0", "is_disabled": "1"}
    assert root.post("/ui/accounts/leaver/status", fields).status == 303
    assert leaver.get("/ui/accounts/leaver").status == 303
    assert b"no rights" in root.get("/ui/accounts/leaver").body


def test_the_last_administrator(registry: Registry):
    root = registry.visitor("root")
    others = [one for one in registry.accounts.all() if one.is_admin and one.name != "root"]
    for one in others:
        registry.accounts.set_admin(one.name, False)
    try:
        seen = {"seen": registry.version("root")}
        for path, fields in (
            ("status", {"is_admin": "0", "is_disabled": "0"}),
            ("status", {"is_admin": "1", "is_disabled": "1"}),
            ("remove", {}),
        ):
            answer = root.post(f"/ui/accounts/root/{path}", {**seen, **fields})
            assert answer.status == 400
            assert b"the only active administrator" in answer.body
    finally:
        for one in others:
            registry.accounts.set_admin(one.name, True)
    assert registry.accounts.get("root").is_admin


def test_an_administrator_gives_a_new_password(registry: Registry):
    registry.accounts.add("forgot", PASSWORD)
    session, root = registry.visitor("forgot"), registry.visitor("root")
    fields = {"password": NEW, "again": NEW}
    assert root.post("/ui/accounts/forgot/password", fields).status == 303
    assert session.get("/ui/accounts/forgot").status == 303
    assert registry.login("forgot", NEW) == 200
    answer = root.post("/ui/accounts/ci-server/password", fields)
    assert (answer.status, b"is a robot" in answer.body) == (400, True)


def test_members_of_a_namespace(registry: Registry):
    lead, reader = registry.visitor("lead"), registry.visitor("reader")
    assert reader.get("/ui/namespaces/team").status == 403
    assert reader.get("/ui/namespaces/none").status == 403
    assert lead.get("/ui/namespaces/none").status == 403
    assert lead.get("/ui/namespaces").status == 403
    registry.accounts.add("joiner", PASSWORD)
    path, joiner = "/ui/namespaces/team", {"account": "joiner", "repository": ""}
    assert reader.post(path, {**joiner, "role": "admin", "seen": ""}).status == 403
    assert lead.post(path, {**joiner, "role": "push", "seen": ""}).status == 303
    for fields, status in (
        ({**joiner, "role": "admin", "seen": "pull"}, 409),
        ({**joiner, "role": "pull", "seen": ""}, 409),
        ({**joiner, "role": "owner", "seen": "push"}, 400),
        ({"account": HOSTILE, "role": "pull"}, 404),
        # no way into another namespace
        ({**joiner, "repository": "../lead", "role": "pull", "seen": ""}, 400),
    ):
        answer = lead.post(path, fields)
        assert answer.status == status, fields
        assert b"<img src=x" not in answer.body
    odd = {**joiner, "repository": HOSTILE.replace("/", "")}  # a name that 0.x may have stored
    assert lead.post(path, {**odd, "role": "pull"}).status == 303
    for page in (lead.get(path), registry.visitor("root").get("/ui/accounts/joiner")):
        assert b"<img src=x" not in page.body
        assert b"&lt;img src=x" in page.body
    assert lead.post(path, {**odd, "role": "", "seen": "pull"}).status == 303
    [role] = [one.role for one in registry.namespaces.members("team") if one.account == "joiner"]
    assert role == "push"
    assert lead.post(path, {**joiner, "role": "", "seen": "push"}).status == 303
    assert "joiner" not in [one.account for one in registry.namespaces.members("team")]
    registry.namespaces.grant("joiner", "admin", "team")
    second = registry.visitor("joiner")
    leaving = {"account": "joiner", "role": "", "seen": "admin"}
    assert second.post(path, leaving).header("Location") == "/ui/"
    assert second.get(path).status == 403


def test_namespaces_of_organisations(registry: Registry):
    root = registry.visitor("root")
    assert root.post("/ui/namespaces", {"name": "crew"}).status == 303
    assert root.post("/ui/namespaces", {"name": "crew"}).status == 400
    assert b"<img src=x" not in root.post("/ui/namespaces", {"name": HOSTILE}).body
    page = root.get("/ui/namespaces").body
    assert page.index(b">boss</a>") < page.index(b">crew</a>") < page.index(b">team</a>")
    assert b">crew</a>" not in root.get("/ui/namespaces?after=crew").body
    assert b"No further namespace" in root.get("/ui/namespaces?after=zzz").body


def test_signing_up_with_an_invitation(registry: Registry):
    root, guest = registry.visitor("root"), Visitor(registry.server)
    answer = root.post("/ui/invitations", {"email": "guest@example.org", "life": "86400"})
    code = secret_in(answer.body, b"invitation")
    assert code.encode() not in root.get("/ui/invitations").body
    assert b"guest@example.org" in root.get("/ui/invitations").body
    assert b"Create an account" in guest.get("/ui/sign-in").body
    guest.get("/ui/sign-up")
    fields = {"name": "guest", "password": NEW, "again": NEW, "invitation": code}
    for wrong, status, text in (
        ({"invitation": ""}, 403, b"needs a valid invitation"),
        ({"invitation": HOSTILE}, 403, b"needs a valid invitation"),
        ({"name": "reader"}, 400, b"already exists"),
        ({"name": HOSTILE}, 400, b"A user name has"),
        ({"name": "library"}, 400, b"in use already"),
        ({"again": "x"}, 400, b"The two passwords differ"),
    ):
        answer = guest.post("/ui/sign-up", {**fields, **wrong})
        assert answer.status == status
        assert text in answer.body
        assert b"<img src=x" not in answer.body
    assert guest.post("/ui/sign-up", fields).status == 303
    assert b"Welcome!" in guest.get("/ui/").body
    assert guest.get("/ui/accounts/guest").status == 200
    assert registry.accounts.get("guest").email == "guest@example.org"
    assert guest.get("/ui/sign-up").status == 303
    root.post("/ui/invitations", {"life": "86400"})
    number = re.findall(rb'action="/ui/invitations/(\d+)/revoke"', root.get("/ui/invitations").body)
    assert len(number) == 1
    assert root.post(f"/ui/invitations/{number[0].decode()}/revoke").status == 303
    assert b"No invitation is open" in root.get("/ui/invitations").body
    assert root.post("/ui/invitations", {"life": "86400", "email": HOSTILE}).status == 400


def test_open_sign_up_is_limited(tmp_path):
    environ = {"INDEX_DATABASE": f"sqlite:///{tmp_path}/index.db", "INDEX_SIGN_UP": "open"}
    with Server(tmp_path / "store", env=environ) as server:
        statuses = []
        for number in range(40):
            guest = Visitor(server)
            assert b"Invitation" not in guest.get("/ui/sign-up").body
            fields = {"name": f"guest-{number}", "password": NEW, "again": NEW}
            statuses.append(guest.post("/ui/sign-up", fields).status)
            if statuses[-1] != 303:
                break
        assert statuses[0] == 303
        assert statuses[-1] == 429


def test_a_registry_without_an_index_has_no_accounts(own_server):
    for path in ("accounts", "accounts/x", "sign-up", "namespaces", "invitations"):
        assert raw.get(own_server, f"/ui/{path}").status == 404


# -- in a browser ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_the_pages_are_accessible(chromium: Chromium, registry: Registry, width: int):
    if not registry.accounts.secrets("ci-server"):
        registry.accounts.issue_secret("ci-server", "build server in Berlin", 86400 * 80)
        registry.accounts.issue_secret("ci-server", HOSTILE)
    registry.visitor("root").post("/ui/invitations", {"email": "new@example.org", "life": "604800"})
    with chromium.visit(registry.server, width=width, path="/ui/sign-up") as page:
        accessible(page)
        screenshot(page, f"sign-up-{width}")
        sign_in(page, "root", PASSWORD)
        for path in (
            "accounts", "new-account", "accounts/ci-server", "accounts/reader", "invitations",
            "namespaces", "namespaces/team",
        ):  # fmt: skip
            page.goto(f"/ui/{path}")
            accessible(page)
            screenshot(page, f"{path.replace('/', '-')}-{width}")
        page.goto("/ui/accounts/reader")
        page.get_by_role("link", name="Remove the account").click()
        page.get_by_role("dialog").wait_for()
        accessible(page)
        screenshot(page, f"remove-account-{width}", whole=False)


@pytest.mark.parametrize("has_scripts", [True, False])
def test_an_account_from_its_beginning_to_its_end(
    chromium: Chromium, registry: Registry, has_scripts: bool
):
    name = f"newcomer-{int(has_scripts)}"
    with chromium.visit(registry.server, has_scripts=has_scripts) as page:
        sign_in(page, "root", PASSWORD)
        page.get_by_role("link", name="Accounts").click()
        page.get_by_role("link", name="Add an account").click()
        page.get_by_label("Name").first.fill(name)
        page.get_by_label("New password", exact=True).fill(NEW)
        page.get_by_label("New password again").fill(NEW)
        page.get_by_role("button", name="Add the account").click()
        page.get_by_text("The account is added.").wait_for()
        page.get_by_role("button", name="Make it an administrator").click()
        page.locator("h1 + .badge", has_text="administrator").wait_for()
        page.get_by_role("button", name="Disable the account").click()
        page.get_by_text("The account is disabled").wait_for()
        page.get_by_role("button", name="Enable the account").click()
        page.get_by_label("Label").fill("laptop")
        page.get_by_label("Valid for").select_option("No end")
        page.get_by_role("button", name="Create a token").click()
        page.get_by_role("heading", name="The new access token").wait_for()
        if has_scripts:
            accessible(page)
            screenshot(page, "token")
        page.get_by_role("link", name="Done").click()
        page.get_by_role("link", name="Revoke laptop").click()
        page.get_by_role("button", name="Revoke the token").click()
        page.get_by_text("The access token is revoked.").wait_for()
        page.get_by_role("link", name="Remove the account").click()
        page.get_by_text(f"The namespace {name} stays, without an owner").wait_for()
        page.get_by_role("button", name="Remove the account").click()
        page.get_by_text(f"The account {name} is removed.").wait_for()
        page.get_by_role("searchbox").fill(name)
        if not has_scripts:
            page.get_by_role("button", name="Search").click()
        page.get_by_text("No account matches.").wait_for()


@pytest.mark.parametrize("has_scripts", [True, False])
def test_members_in_the_browser(chromium: Chromium, registry: Registry, has_scripts: bool):
    name = f"member-{int(has_scripts)}"
    registry.accounts.add(name, PASSWORD)
    with chromium.visit(registry.server, has_scripts=has_scripts) as page:
        sign_in(page, "lead", PASSWORD)
        page.get_by_title("Your account").click()
        page.get_by_role("link", name="team", exact=True).click()
        page.get_by_label("Account").fill(name)
        page.get_by_role("button", name="Give the role").click()
        page.get_by_text(f"{name} has the role pull in team now.").wait_for()
        page.get_by_label(f"Role of {name}").select_option("push")
        page.get_by_role("button", name=f"Change {name}").click()
        page.get_by_text(f"{name} has the role push in team now.").wait_for()
        page.get_by_label(f"Role of {name}").select_option("")
        page.get_by_role("button", name=f"Change {name}").click()
        page.get_by_text(f"{name} has no role in team any more.").wait_for()
