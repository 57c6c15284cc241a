"""gunicorn's configuration: `gunicorn -c gunicorn.conf.py wsgi:application`.

Every value comes from the environment and from config.yml, see v1registry/edge/settings.py;
options on gunicorn's command line go before what stands here.
"""

import os
import sys

from v1registry.config import ConfigError
from v1registry.edge.settings import SettingsError, settings

try:
    globals().update(settings(os.environ))
except (ConfigError, SettingsError) as reason:
    # One clear line instead of gunicorn's traceback.
    sys.exit(f"v1registry: {reason}")
