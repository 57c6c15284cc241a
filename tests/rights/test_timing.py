"""The response time for a wrong password does not disclose which accounts exist."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import bcrypt
import sqlalchemy as sa

from tests import raw
from tests.index.conftest import here, open_database
from tests.live_server import Server
from tests.rights.accounts import PASSWORD, basic, environment
from v1registry.index.accounts import AccountStore
from v1registry.index.schema import accounts


def hashed(cost: int) -> str:
    return bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost)).decode()


def check(server: Server) -> None:
    """Compare the shortest times of alternating measurements, because the machine may be busy."""
    for user in ("cheap", "usual", "dear"):
        assert raw.get(server, "/v1/users/", basic(user)).status == 200
    least = dict.fromkeys(("cheap", "usual", "dear", "unknown"), 60.0)
    for n in range(8):
        for user in least:
            begun = time.monotonic()
            assert raw.get(server, "/v1/users/", basic(user, f"guess {n}")).status == 401
            least[user] = min(least[user], time.monotonic() - begun)
    assert max(least.values()) < 2 * min(least.values()), least  # 30 times, if nothing is done


def test_a_password_file(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(
        f"cheap:{hashed(5)}\nusual:{hashed(10)}\ndear:{hashed(11)}\n"
    )
    with Server(tmp_path / "store", env=environment(tmp_path / "htpasswd")) as server:
        check(server)


def test_an_index(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/index.db"
    database = open_database(url)
    for user, cost in (("cheap", 5), ("usual", 10), ("dear", 11)):
        AccountStore(database, here).add(user, PASSWORD)
        # as written by another version, or copied from htpasswd
        change = accounts.update().where(accounts.c.name == user)
        value = hashed(cost).replace("$2b$", "$2y$" if user == "dear" else "$2b$")
        database.write(partial(sa.Connection.execute, statement=change.values(password=value)))
    database.close()
    env = {"INDEX_DATABASE": url, "ACCOUNTS_ATTEMPTS": "0"}
    with Server(tmp_path / "store", env=env) as server:
        check(server)


def test_a_warning_names_a_hash_with_a_high_cost(tmp_path: Path) -> None:
    text = f"cheap:{hashed(4)}\ndear:{hashed(4).replace('$04$', '$15$')}\n"
    (tmp_path / "htpasswd").write_text(text)
    with Server(tmp_path / "store", env=environment(tmp_path / "htpasswd")) as server:
        assert raw.get(server, "/v1/users/", basic("cheap")).status == 200
        assert "htpasswd has a hash with bcrypt cost 15" in server.log
