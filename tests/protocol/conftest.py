"""The registry for the tests of the protocol: on local files, or on all stores if `every_store`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.live_server import Server
from tests.protocol.places import PLACES, Place

_QUICK = {"s3"}  # on which `make test` has the tables too
_FILES = "files"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("every_store"):
        others = [
            pytest.param(name, marks=[] if name in _QUICK else [pytest.mark.heavy])
            for name in PLACES
        ]
        metafunc.parametrize("chosen_place", [_FILES, *others], indirect=True, scope="module")


@pytest.fixture(scope="module")
def chosen_place(request: pytest.FixtureRequest) -> Place | None:
    """A part of the chosen store; None for local files."""
    name = getattr(request, "param", _FILES)
    if name == _FILES:
        return None
    kind = PLACES[name]
    place: Place = kind(request.getfixturevalue(kind.backend))
    return place


@pytest.fixture(scope="module")
def server(
    chosen_place: Place | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A real server for all tests of a module, which use different names."""
    folder = tmp_path_factory.mktemp("server")
    with chosen_place.server(folder) if chosen_place else Server(folder / "store") as running:
        yield running


@pytest.fixture(scope="module")
def keys_below(chosen_place: Place | None, server: Server) -> Callable[[str], list[str]]:
    """Return the keys below a key, read from the store without the registry."""
    if chosen_place:
        return chosen_place.names

    def names(below: str) -> list[str]:
        found = (path for path in (server.store / below).rglob("*") if path.is_file())
        return [str(path.relative_to(server.store)) for path in found]

    return names
