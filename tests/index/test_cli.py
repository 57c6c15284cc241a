"""The command `v1registry index` on either database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.index.conftest import PASSWORD, here, open_database
from tests.lib.stores import image_id
from v1registry.commands.cli import main
from v1registry.config.load import PROJECT
from v1registry.index.accounts import AccountStore
from v1registry.index.schema import counters
from v1registry.lib.auth import passwords
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName
from v1registry.storage import exists
from v1registry.storage.local.driver import FileStorage


class Called:
    """Calls the command in this process, which is faster; `failed` expects an error."""

    def __init__(self, url: str, store: Path) -> None:
        self.env = {"SETTINGS_FLAVOR": "local", "INDEX_DATABASE": url, "STORAGE_PATH": str(store)}

    def __call__(self, *arguments: str, stdin: str = "", status: int = 0) -> str:
        result = CliRunner().invoke(main, ["index", *arguments], input=stdin, env=self.env)
        assert result.exit_code == status, result.output
        told = result.stderr.splitlines()
        assert told in ([], [f"v1registry: store: {self.env['STORAGE_PATH']} (flavor local)"])
        return result.stdout

    def json(self, *arguments: str, stdin: str = "") -> object:
        return json.loads(self(*arguments, "--json", stdin=stdin))

    def failed(self, *arguments: str, stdin: str = "", status: int = 1) -> str:
        result = CliRunner().invoke(main, ["index", *arguments], input=stdin, env=self.env)
        assert (result.exit_code, result.stdout) == (status, "")
        assert "Traceback" not in result.stderr
        return result.stderr


@pytest.fixture
def call(url: str, tmp_path: Path) -> Called:
    return Called(url, tmp_path / "store")


def test_the_command_as_a_separate_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/index.db"

    def run(*arguments: str, stdin: str = "", **environ: str):
        base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "SETTINGS_FLAVOR": "local"}
        base |= {"INDEX_DATABASE": url, "STORAGE_PATH": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-m", "v1registry", "index", *arguments],
            env=base | environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    done = run("user", "add", "alice", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "user alice added\n", "")
    done = run("user", "add", "alice", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "v1registry: Username or email already exists\n"
    done = run("user", "list", INDEX_DATABASE="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("v1registry: no index is configured: set index.database")


def test_arguments_that_are_not_utf_8_are_refused_in_one_line(call: Called) -> None:
    """Python passes bytes that are not UTF-8 to a command as lone surrogates."""
    call("user", "add", "ci", "--robot")
    for arguments in [
        ("token", "issue", "ci", "--label", "a\udcff"),
        ("user", "add", "robot", "--robot", "--email", "a\udcff@example.org"),
        ("invite", "--email", "a\udcff@example.org"),
        ("user", "disable", "a\udcff"),
    ]:
        told = call.failed(*arguments)
        assert told.count("\n") == 1
    with pytest.raises(Failure, match="lone surrogates"):
        passwords.check_new("long enough \udcff")


EVERY_KIND = [
    ("user", "list"),
    ("user", "add", "ci", "--robot"),
    ("namespace", "list"),
    ("grant", "ci", "pull", "team"),
    ("token", "list"),
    ("key", "list"),
    ("repository", "list"),
    ("invite",),
    ("rebuild",),
]


def test_a_newer_schema_is_one_line(call: Called, url: str) -> None:
    call("user", "list")
    database = open_database(url)
    newer = "UPDATE v1registry_schema SET version = 99"
    database.write(lambda connection: connection.exec_driver_sql(newer))
    database.close()
    FileStorage(call.env["STORAGE_PATH"]).put("images/x", b"")
    for arguments in EVERY_KIND:
        [line] = [one for one in call.failed(*arguments).splitlines() if ": store: " not in one]
        assert "the database has version 99 of the schema, this program knows" in line
        assert "docs/index.md" in line


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "index.db"
    file.write_bytes(b"no database at all " * 1000)
    call = Called(f"sqlite:///{file}", tmp_path / "store")
    FileStorage(call.env["STORAGE_PATH"]).put("images/x", b"")
    for arguments in EVERY_KIND:
        [line] = [one for one in call.failed(*arguments).splitlines() if ": store: " not in one]
        assert line.startswith("v1registry: The index's database is damaged")
        assert str(file) in line
        assert "retry" not in line


def test_a_database_that_does_not_answer_says_why(tmp_path: Path) -> None:
    call = Called("postgresql://me:hush@127.0.0.1:1/x", tmp_path)
    told = call.failed("user", "list")
    assert told.startswith("v1registry: The index does not answer, retry later: connection failed")
    assert "hush" not in told


def every(command, path: tuple[str, ...] = ("index",)):
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from every(child, (*path, name))


@pytest.mark.parametrize("path", [*every(main.commands["index"])], ids=" ".join)
def test_help(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    command = main
    for name in path:
        command = command.commands[name]
    assert command.help
    if not hasattr(command, "commands"):
        assert "--json" in result.stdout


def test_users(call: Called, url: str) -> None:
    assert call("user", "add", "alice", "--email", "a@example.org", "--password-stdin",
                stdin=f"{PASSWORD}\n") == "user alice added\n"  # fmt: skip
    assert call.json("user", "add", "ci", "--robot") == {"name": "ci"}
    assert call("user", "admin", "alice") == "alice is now an administrator\n"
    assert call("user", "disable", "ci") == "ci is disabled\n"
    [alice, robot] = call.json("user", "list")
    assert (alice["name"], alice["email"], alice["is_admin"]) == ("alice", "a@example.org", True)
    assert (robot["name"], robot["is_robot"], robot["is_disabled"]) == ("ci", True, True)
    assert "password" not in alice
    table = call("user", "list").splitlines()
    assert table[0].split() == ["NAME", "E-MAIL", "ROBOT", "ADMIN", "DISABLED", "CREATED"]
    assert table[1].split()[:5] == ["alice", "a@example.org", "no", "yes", "no"]
    call("user", "enable", "ci")
    call("user", "admin", "alice", "--revoke")
    call("user", "passwd", "alice", "--password-stdin", stdin="secret-2\r\n")
    database = open_database(url)
    assert not AccountStore(database, here).authenticate("alice", "secret-2").is_admin
    database.close()


def test_remove(call: Called, url: str) -> None:
    call("user", "add", "anna", "--password-stdin", stdin=f"{PASSWORD}\n")
    call("user", "add", "robot1", "--robot")
    call("grant", "robot1", "push", "anna")
    assert call.json("user", "remove", "robot1") == {"name": "robot1", "namespace": None}
    assert call("user", "remove", "anna") == (
        "anna is removed; the namespace anna stays, without an owner\n"
    )
    assert call.json("user", "list") == []
    assert call.json("namespace", "list") == [
        {"name": "anna", "owner": None, "members": 0, "repositories": 0}
    ]
    for arguments in (("remove",), ("show",), ("rights",)):
        assert "There is no account anna" in call.failed("user", *arguments, "anna")
    told = call.failed("user", "add", "anna", "--adopt", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert "The account anna was removed, and its tokens may still be in use" in told
    call("namespace", "remove", "anna")
    call.env["INDEX_TOKEN_LIFE"] = "60"
    call("user", "add", "robert", "--password-stdin", stdin=f"{PASSWORD}\n")
    call("user", "remove", "robert")
    database = open_database(url)
    database.write(lambda c: c.execute(counters.update().values(expires=int(time.time()) - 1)))
    database.close()
    call("user", "add", "robert", "--adopt", "--password-stdin", stdin=f"{PASSWORD}\n")


def test_show_and_rights(call: Called) -> None:
    call("user", "add", "anna", "--email", "a@example.org", "--password-stdin",
         stdin=f"{PASSWORD}\n")  # fmt: skip
    call("namespace", "add", "team")
    call("grant", "anna", "push", "team")
    call("grant", "anna", "pull", "team/app")
    call("token", "issue", "anna", "--label", "laptop", "--life", "90d")
    roles = [("anna", "", "admin"), ("team", "", "push"), ("team", "app", "pull")]
    found = call.json("user", "rights", "anna")
    assert [(one["namespace"], one["repository"], one["role"]) for one in found] == roles
    table = [line.split() for line in call("user", "rights", "anna").splitlines()]
    assert table == [["NAMESPACE", "REPOSITORY", "ROLE"], ["anna", "-", "admin"],
                     ["team", "-", "push"], ["team", "app", "pull"]]  # fmt: skip
    shown = call.json("user", "show", "anna")
    assert (shown["name"], shown["email"], shown["is_admin"]) == ("anna", "a@example.org", False)
    assert shown["roles"] == found
    assert [secret["label"] for secret in shown["secrets"]] == ["laptop"]
    assert "password" not in shown
    lines = call("user", "show", "anna").splitlines()
    assert lines[:2] == ["NAME: anna", "E-MAIL: a@example.org"]
    assert "ROLE: admin in anna" in lines
    assert "ROLE: pull in team/app" in lines
    assert lines[-1].startswith("SECRET: 1 laptop, expires 20")
    call("user", "admin", "anna")
    assert call.json("user", "rights", "anna")[0]["namespace"] == "*"
    assert "ROLE: admin in all namespaces" in call("user", "show", "anna").splitlines()


def warned(call: Called, *arguments: str, stdin: str = "") -> str:
    """Return the warning of a command that succeeds."""
    result = CliRunner().invoke(main, ["index", *arguments], input=stdin, env=call.env)
    assert result.exit_code == 0
    return result.stderr


@pytest.mark.parametrize("name", ["ann", "two-words", "with.dot", "x" * 31])
def test_a_warning_for_names_that_old_engines_cannot_use(call: Called, name: str) -> None:
    text = (
        "warning: Docker engines up to 1.5 cannot use the namespace {}: they accept only 4 to 30"
        " characters of a-z, 0-9 and _\n"
    )
    add = ("user", "add", name, "--password-stdin")
    assert warned(call, *add, stdin=f"{PASSWORD}\n") == text.format(name)
    for other in (f"{name}-", f"{name}."):
        assert warned(call, "namespace", "add", other, "--json") == text.format(other)


def test_no_warning_for_names_that_all_engines_can_use(call: Called) -> None:
    for name in ("anna", "a_b2", "x" * 30):
        call("user", "add", name, "--password-stdin", stdin=f"{PASSWORD}\n")
    call("namespace", "add", "team")
    call("user", "add", "ci", "--robot")  # a robot has no namespace


def test_wrong_users(call: Called) -> None:
    (Path(call.env["STORAGE_PATH"]) / "images").mkdir(parents=True)
    (Path(call.env["STORAGE_PATH"]) / "images/README").touch()
    for arguments, stdin, text in [
        (("user", "add", "Alice", "--password-stdin"), f"{PASSWORD}\n", "A user name has 2 to 64"),
        (("user", "add", "alice", "--password-stdin"), "short\n", "at least 8 characters"),
        (("user", "add", "alice", "--password-stdin"), "", "at least 8 characters"),
        (("user", "passwd", "bob", "--password-stdin"), f"{PASSWORD}\n", "There is no account bob"),
        (("user", "disable", "bob"), "", "There is no account bob"),
        (("token", "issue", "bob"), "", "There is no account bob"),
        (("token", "revoke", "7"), "", "There is no secret 7"),
        (("key", "use", "7"), "", "There is no key 7"),
        (("namespace", "members", "team"), "", "There is no namespace team"),
        (("repository", "set", "team/app", "--private"), "", "Repository not found"),
        (("repository", "set", "../x", "--private"), "", "Invalid repository name"),
    ]:
        told = call.failed(*arguments, stdin=stdin)
        assert told.startswith("v1registry: ")
        assert text in told
    for arguments in [
        ("user", "add", "ci", "--robot", "--password-stdin"),
        ("user", "add", "alice"),  # without a terminal for the password
        ("token", "issue", "ci", "--life", "soon"),
        ("grant", "ci", "owner", "team"),
        ("nonsense",),
    ]:
        assert "Error: " in call.failed(*arguments, status=2)


def test_a_namespace_of_the_store_needs_adopt(call: Called) -> None:
    store = FileStorage(call.env["STORAGE_PATH"])
    store.put(f"{RepositoryName('team', 'app').folder}/tag_v1", image_id("a").encode())
    add = ("user", "add", "team", "--password-stdin")
    assert "--adopt gives them to it" in call.failed(*add, stdin=f"{PASSWORD}\n")
    call("rebuild")
    assert "in use already" in call.failed(*add, stdin=f"{PASSWORD}\n").replace(
        "the store has repositories of team: --adopt gives them to it", "in use already"
    )
    call(*add, "--adopt", stdin=f"{PASSWORD}\n")
    assert call.json("namespace", "list") == [
        {"name": "team", "owner": "team", "members": 0, "repositories": 1}
    ]


def test_namespaces_and_roles(call: Called) -> None:
    call("user", "add", "ci", "--robot")
    assert call("namespace", "add", "team") == "namespace team added\n"
    assert call("grant", "ci", "push", "team") == "ci has the role push in team\n"
    call("grant", "ci", "admin", "team/app")
    assert call.json("namespace", "members", "team") == [
        {"account": "ci", "namespace": "team", "repository": "", "role": "push"},
        {"account": "ci", "namespace": "team", "repository": "app", "role": "admin"},
    ]
    assert call("revoke", "ci", "team/app") == "ci has no role in team/app\n"
    assert "ci has no role in team/app" in call.failed("revoke", "ci", "team/app")
    assert call("namespace", "remove", "team") == "namespace team removed\n"
    assert call.json("namespace", "list") == []


def test_tokens_for_robots(call: Called, url: str) -> None:
    call("user", "add", "ci", "--robot")
    secret = call("token", "issue", "ci", "--label", "builds", "--life", "90d").strip()
    other = call.json("token", "issue", "ci")
    database = open_database(url)
    accounts = AccountStore(database, here)
    for given in (secret, other["secret"]):
        assert accounts.authenticate("ci", given).is_robot
    database.close()
    [first, second] = call.json("token", "list", "ci")
    assert (first["label"], first["expires"] - first["created"]) == ("builds", 90 * 86400)
    assert second["expires"] is None
    assert secret not in call("token", "list")
    assert call("token", "revoke", str(first["id"])) == f"secret {first['id']} revoked\n"
    assert len(call.json("token", "list")) == 1


def test_keys(call: Called) -> None:
    [first] = call.json("key", "list")
    assert first["is_signing"]
    new = call.json("key", "add")
    assert call("key", "use", new["id"]) == f"key {new['id']} signs\n"
    assert "use another one first" in call.failed("key", "remove", new["id"])
    call("key", "remove", first["id"])
    [left] = call.json("key", "list")
    assert (left["id"], left["public"], left["is_signing"]) == (new["id"], new["public"], True)


def test_invitations(call: Called) -> None:
    made = call.json("invite", "--email", "a@example.org", "--life", "1h")
    assert (made["email"], made["life"]) == ("a@example.org", 3600)
    assert call("invite").strip() != made["invitation"]


def test_repositories_and_rebuild(call: Called, url: str) -> None:
    store = FileStorage(call.env["STORAGE_PATH"])
    app = RepositoryName("team", "app")
    store.put(f"{app.folder}/tag_v1", image_id("a").encode())
    store.put(f"{app.folder}/_index_images", json.dumps([{"id": image_id("a")}]).encode())
    told = call("rebuild")
    assert told.startswith("1 repositories in the store, 1 of them changed in the index, 0 removed")
    assert call.json("rebuild", "--image-lists") == {
        "repositories": 1, "changed": 0, "removed": 0, "image_lists": 1,
        "problems": [],
    }  # fmt: skip
    assert call("repository", "set", "team/app", "--private", "--official", "--description", "x")
    [row] = call.json("repository", "list")
    assert (row["name"], row["is_private"], row["is_official"]) == ("team/app", True, True)
    assert row["description"] == "x"
    assert exists(store, f"{app.folder}/_private")
    call("repository", "set", "team/app", "--public", "--no-official")
    [row] = call.json("repository", "list")
    assert (row["is_private"], row["is_official"]) == (False, False)
    assert not exists(store, f"{app.folder}/_private")


def test_rebuild_names_damaged_image_lists(call: Called) -> None:
    store = FileStorage(call.env["STORAGE_PATH"])
    app = RepositoryName("team", "app")
    store.put(f"{app.folder}/tag_v1", image_id("a").encode())
    store.put(f"{app.folder}/_index_images", b"")
    call("rebuild")
    told = call("rebuild", "--image-lists", status=3)
    assert "team/app: its image list is damaged" in told
    store.put(f"{app.folder}/_index_images", b"[]")
    call("rebuild", "--image-lists")


def test_rebuild_names_tags_that_cannot_be_read(call: Called) -> None:
    store = FileStorage(call.env["STORAGE_PATH"])
    app = RepositoryName("team", "app")
    store.put(f"{app.folder}/tag_v1", image_id("a").encode())
    store.put(f"{app.folder}/tag_bad", b"garbage")
    text = call("rebuild", status=3)
    assert "team/app:bad: the file of the tag holds no image id: push the tag again" in text
    told = json.loads(call("rebuild", "--json", status=3))
    assert [(row["repository"], row["tag"]) for row in told["problems"]] == [("team/app", "bad")]
    assert told["changed"] == 0


def test_repositories_missing_from_the_store(call: Called, url: str) -> None:
    """One command hides them, and another one deletes them."""
    store = FileStorage(call.env["STORAGE_PATH"])
    app = RepositoryName("team", "app")
    store.put(f"{app.folder}/tag_v1", image_id("a").encode())
    call("rebuild")
    assert "is in the store" in call.failed("repository", "remove", "team/app")
    store.delete_folder(app.folder)
    assert call("rebuild").rstrip().endswith("0 removed from it, 1 missing from the store")
    [row] = call.json("repository", "list")
    assert row["missing"] is not None
    assert "NOT IN STORE SINCE" in call("repository", "list")
    assert call.json("rebuild", "--missing")["removed"] == 1
    assert len(call.json("repository", "list")) == 1
    assert call("repository", "remove", "team/app") == "team/app removed from the index\n"
    assert call.json("repository", "list") == []
    assert "Repository not found" in call.failed("repository", "remove", "team/app")


def test_a_namespace_has_a_default(call: Called, url: str) -> None:
    call("namespace", "add", "team")
    assert call.json("namespace", "set", "team") == {"name": "team", "new": "default"}
    told = call("namespace", "set", "team", "--new", "private")
    assert told == "new repositories of team: private\n"
    store = FileStorage(call.env["STORAGE_PATH"])
    store.put(f"{RepositoryName('team', 'app').folder}/tag_v1", image_id("a").encode())
    call("rebuild")
    [row] = call.json("repository", "list")
    assert row["is_private"]
    assert call("namespace", "set", "team", "--new", "default").endswith("default\n")
    assert "There is no namespace other" in call.failed("namespace", "set", "other")


def test_rebuild_of_a_search_database(call: Called, url: str) -> None:
    call.env |= {"SQLALCHEMY_INDEX_DATABASE": url, "INDEX_DATABASE": ""}
    assert "there is no store in" in call.failed("rebuild")
    (Path(call.env["STORAGE_PATH"]) / "repositories/team/app").mkdir(parents=True)
    assert call("rebuild").startswith("1 repositories in the store")
    call.env["SEARCH_BACKEND"] = "false"
    assert "no database is configured" in call.failed("rebuild")


def test_rebuild_without_a_store(call: Called) -> None:
    call.env |= {"INDEX_ALONE": "true", "REGISTRY_ENDPOINTS": "one.example"}
    assert call("user", "list")
    assert "has no store to compare with" in call.failed("rebuild")
