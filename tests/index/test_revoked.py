"""Revoked roles and disabled accounts, at registries that have the index's public key."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests import raw
from tests.index.conftest import PASSWORD, here, open_database
from tests.index.test_processes import Site, key
from tests.index.test_server import seeded_file
from tests.live_server import Server, free_port
from tests.protocol.engine import image
from tests.rights.accounts import JSON, basic
from tests.waiting import wait_for
from v1registry.index.accounts import AccountStore
from v1registry.index.namespaces import Namespaces
from v1registry.index.repositories import RepositoryRecords
from v1registry.lib.names import RepositoryName

KEPT = RepositoryName("team", "kept")


def test_registries_that_check_signatures_notice_lost_rights(
    tmp_path: Path,
) -> None:
    """An index that is down does not stop other users."""
    url = seeded_file(tmp_path)
    port = free_port()
    index_env = {
        "INDEX_DATABASE": url,
        "INDEX_ALONE": "true",
        "REGISTRY_ENDPOINTS": f"127.0.0.1:{port}",
        "LOGLEVEL": "debug",
    }
    with Server(tmp_path / "no-store", env=index_env) as index:
        trusting = {
            "STANDALONE": "false",
            "INDEX_ENDPOINT": index.url,
            "INDEX_KEYS": key(url),
            "INDEX_REMEMBER": "1s",
            "INDEX_TIMEOUT": "2s",
            "LOGLEVEL": "debug",
        }
        with Server(tmp_path / "store", env=trusting, port=port) as registry:
            site = Site(index, [registry])
            one = image("taken away")
            site.engine("owner").push("team/kept", [one])
            change = b'{"is_private": true}'
            path = "/v1/index/repositories/team/kept"
            assert raw.put(index, path, change, basic("owner", PASSWORD) | JSON).status == 204

            def token(user: str) -> str:
                asked = site.engine(user).ask_index("GET", "/v1/repositories/team/kept/images")
                return asked.header("X-Docker-Token") or ""

            def status(token: str) -> int:
                headers = {"Authorization": f"Token {token}"}
                return raw.get(registry, one.path("json"), headers).status

            tokens = {user: token(user) for user in ("reader", "writer", "owner", "root")}
            assert {status(token) for token in tokens.values()} == {200}
            database = open_database(url)
            Namespaces(database).revoke("reader", "team")
            AccountStore(database, here).set_disabled("writer", True)
            database.close()
            wait_for(lambda: 200 not in (status(tokens["reader"]), status(tokens["writer"])), 15)
            assert status(tokens["owner"]) == 200
            index.stop()
            assert [status(token) for token in tokens.values()] == [401, 401, 200, 200]
            for log in (index.log, registry.log):
                assert PASSWORD not in log
                assert not any(token[10:60] in log for token in tokens.values())
            time.sleep(1.5)  # longer than the answers of the index are cached
            assert [status(token) for token in tokens.values()] == [401, 401, 200, 200]


@pytest.mark.parametrize("by_signature", [False, True])
@pytest.mark.parametrize("what", ["role", "account", "private"])
def test_bearer_tokens_of_v2_end_as_soon_as_tokens_of_v1(
    tmp_path: Path, by_signature: bool, what: str
) -> None:
    """The registry asks the separate index about them at each use, not only when it issues them."""
    url = seeded_file(tmp_path)
    port = free_port()
    index_env = {
        "INDEX_DATABASE": url,
        "INDEX_ALONE": "true",
        "REGISTRY_ENDPOINTS": f"127.0.0.1:{port}",
    }
    with Server(tmp_path / "no-store", env=index_env) as index:
        trusting = {
            "STANDALONE": "false",
            "INDEX_ENDPOINT": index.url,
            "INDEX_REMEMBER": "1s",
            **({"INDEX_KEYS": key(url)} if by_signature else {}),
        }
        with Server(tmp_path / "store", env=trusting, port=port) as registry:
            Site(index, [registry]).engine("owner").push("team/kept", [image("taken away")])
            if what != "private":
                body, path = b'{"is_private": true}', "/v1/index/repositories/team/kept"
                assert raw.put(index, path, body, basic("owner", PASSWORD) | JSON).status == 204
            user = "other" if what == "private" else "reader"
            agent = {"User-Agent": "docker/20.10"}
            path = "/v2/_token?scope=repository:team/kept:pull"
            given = raw.get(registry, path, {**agent, **basic(user, PASSWORD)}).json()
            assert given["expires_in"] == 300
            shown = {**agent, "Authorization": f"Bearer {given['token']}"}
            tags = "/v2/team/kept/tags/list"
            assert raw.get(registry, tags, shown).json()["tags"] == ["latest"]
            assert raw.get(registry, "/v2/team/other/tags/list", shown).status == 403
            database = open_database(url)
            if what == "role":
                Namespaces(database).revoke("reader", "team")
            elif what == "account":
                AccountStore(database, here).set_disabled("reader", True)
            else:
                RepositoryRecords(database, private=False).flag(KEPT, is_private=True)
            database.close()
            taken = time.monotonic()
            while (answer := raw.get(registry, tags, shown)).status == 200:
                assert time.monotonic() < taken + 15  # 5 seconds and index_remember, and some
                time.sleep(0.2)
            assert answer.status == 401
            assert "invalid_token" in (answer.header("WWW-Authenticate") or "")
            # the index refuses the user, and so does the registry (docs/v2.md, Which users may pull)
            answer = raw.get(registry, path, {**agent, **basic(user, PASSWORD)})
            assert answer.status == 401
            assert (answer.header("WWW-Authenticate") or "").startswith("Basic ")
