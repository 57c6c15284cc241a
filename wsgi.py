"""The WSGI application, for any server that wants to import one (`wsgi:application`)."""

from v1registry.app import create_app
from v1registry.config import load_config

application = create_app(load_config())
