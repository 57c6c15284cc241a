import os

import pytest

from tests.server.serving import STOCK, Serving


@pytest.fixture(scope="session")
def big_file(tmp_path_factory):
    """A file larger than all socket buffers together. Every MiB of it is different."""
    path = tmp_path_factory.mktemp("serving") / "layer"
    path.write_bytes(os.urandom(24 * 1024 * 1024 + 12345))
    return path


@pytest.fixture(scope="session")
def serving(tmp_path_factory, big_file):
    with Serving(tmp_path_factory.mktemp("serving"), file=big_file) as serving:
        yield serving


@pytest.fixture(scope="session")
def stock_serving(tmp_path_factory):
    """A server with gunicorn's own worker, for comparison."""
    with Serving(tmp_path_factory.mktemp("stock"), worker=STOCK) as serving:
        yield serving
