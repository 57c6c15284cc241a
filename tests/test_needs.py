"""`needs` skips a test by name if something is missing, and fails it in CI."""

from __future__ import annotations

import pytest

from tests import needs as subject


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(subject._CHECKS, "nginx", lambda: "nginx (Debian: nginx-light)")
    monkeypatch.setitem(subject._CHECKS, "openssl", lambda: None)


def in_ci(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CI", value)


def a_test() -> str:
    return "ran"


@pytest.mark.parametrize("ci", ["true", ""])
def test_a_test_whose_needs_are_met_runs(absent, monkeypatch, ci):
    in_ci(monkeypatch, ci)
    assert subject.needs("openssl")(a_test)() == "ran"


@pytest.mark.usefixtures("absent")
def test_a_test_is_skipped_by_name(monkeypatch):
    in_ci(monkeypatch, "")
    marked = subject.needs("openssl", "nginx")(a_test)
    [mark] = marked.pytestmark
    del a_test.pytestmark
    assert mark.name == "skip"
    assert mark.kwargs["reason"] == "needs nginx (Debian: nginx-light)"


@pytest.mark.usefixtures("absent")
def test_ci_fails_a_function_and_each_test_of_a_class(monkeypatch):
    in_ci(monkeypatch, "true")

    class Group:
        def helper(self) -> str:
            return "ran"

        def test_one(self) -> str:
            return "ran"

    decorated = subject.needs("nginx")(Group)()
    assert decorated.helper() == "ran"
    for call in (subject.needs("nginx")(a_test), decorated.test_one):
        with pytest.raises(pytest.fail.Exception, match="CI must have nginx"):
            call()


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_require_inside_a_fixture(monkeypatch, ci, outcome):
    in_ci(monkeypatch, ci)
    subject.require("openssl")
    with pytest.raises(outcome, match=r"nginx-light"):
        subject.require("nginx")


def test_an_unknown_need_is_an_error():
    with pytest.raises(KeyError):
        subject.needs("nignx")
