"""The WSGI application `wsgi:application`, for any WSGI server."""

import sys

from v1registry.app import create_app
from v1registry.config import ConfigError, load_config
from v1registry.storage.errors import StorageError

_LOAD_ERROR = 4  # gunicorn's APP_LOAD_ERROR: its master stops instead of retrying forever

try:
    application = create_app(load_config())
except (ConfigError, StorageError) as error:
    sys.stderr.write("".join(f"v1registry: {line}\n" for line in str(error).splitlines()))
    sys.exit(_LOAD_ERROR)
