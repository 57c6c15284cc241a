"""Password hashes."""

from __future__ import annotations

import bcrypt
import pytest

from v1registry.lib.auth import passwords
from v1registry.lib.errors import Failure

FAST = 4  # the minimum of bcrypt


@pytest.mark.parametrize("password", ["secret-1", "päßwörd€", "with: colon", "x" * 72, " " * 8])
def test_the_right_password_and_others(password: str) -> None:
    passwords.check_new(password)
    hashed = passwords.hash(password, FAST)
    assert password not in hashed
    assert passwords.verify(password, hashed)
    for other in (password + "x", password[:-1], password.upper() + "!", "", "x" * 100, "\ud800"):
        assert not passwords.verify(other, hashed)


def test_two_hashes_of_one_password_differ() -> None:
    assert passwords.hash("secret-1", FAST) != passwords.hash("secret-1", FAST)


def test_hashes_of_htpasswd() -> None:
    hashed = passwords.hash("secret-1", FAST).replace("$2b$", "$2y$")
    assert passwords.verify("secret-1", hashed)


def test_the_default_is_not_cheap() -> None:
    assert passwords.hash("secret-1").startswith("$2b$10$")


@pytest.mark.parametrize("hashed", [None, "", "x", "secret-1", "$2b$10$short", "{SHA}abc", "ü"])
def test_an_invalid_hash_matches_no_password(hashed: str | None) -> None:
    for password in ("secret-1", "", "x"):
        assert not passwords.verify(password, hashed)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rounds of every computed bcrypt hash, which determine its time."""
    done: list[int] = []
    compute = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        done.append(2 ** int(hashed[4:6]))
        return compute(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return done


@pytest.mark.parametrize("cost", [None, 4, 5, 6, 7])
def test_a_wrong_password_takes_the_same_rounds_for_every_account(
    rounds: list[int], cost: int | None
) -> None:
    hashed = None if cost is None else passwords.hash("secret-1", cost)
    assert not passwords.verify("secret-2", hashed, 7)
    assert sum(rounds) == 2**7


def test_a_wrong_password_takes_no_more_than_the_highest_cost_that_we_allow(
    rounds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "HIGHEST", 6)
    for hashed in (None, "no hash", passwords.hash("secret-1", 4)):
        rounds.clear()
        assert not passwords.verify("secret-2", hashed, 31)
        assert sum(rounds) == 2**6


def test_the_right_password_takes_only_its_own_rounds(rounds: list[int]) -> None:
    assert passwords.verify("secret-1", passwords.hash("secret-1", 4), 9)
    assert rounds == [2**4]


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "at least 8"),
        ("1234567", "at least 8"),
        ("x" * 73, "longer than 72 bytes"),
        ("ü" * 37, "longer than 72 bytes"),
        ("line\nbreak", "control characters"),
        ("zero\0byte", "control characters"),
    ],
)
def test_passwords_that_are_refused(password: str, reason: str) -> None:
    with pytest.raises(Failure, match=reason) as caught:
        passwords.check_new(password)
    assert caught.value.status == 400
