"""The WSGI application, for any server that wants to import one (`wsgi:application`)."""

import sys

from v1registry.app import create_app
from v1registry.config import ConfigError, load_config
from v1registry.storage.errors import StorageError

_LOAD_ERROR = 4  # gunicorn's own number: its master gives up instead of trying for ever

try:
    application = create_app(load_config())
except (ConfigError, StorageError) as error:
    sys.stderr.write("".join(f"v1registry: {line}\n" for line in str(error).splitlines()))
    sys.exit(_LOAD_ERROR)
