"""gunicorn's configuration, for `v1registry serve` and for `gunicorn -c gunicorn.conf.py`.

Every value comes from environment variables and config.yml, see v1registry/server/settings.py.
Options on gunicorn's command line override the values here.
"""

import os
import sys
from functools import partial

from v1registry.config import ConfigError, load_config
from v1registry.server.preload import hooks
from v1registry.server.settings import SettingsError, page_url, settings
from v1registry.wiring.preload import import_for

try:
    _registry = load_config(environ=os.environ)
    _hooks = hooks(partial(import_for, _registry), page_url(os.environ, _registry))
    globals().update(settings(os.environ, _registry), **_hooks)
except (ConfigError, SettingsError) as reason:
    # One line instead of gunicorn's traceback.
    sys.exit(f"v1registry: {reason}")
