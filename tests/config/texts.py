"""What several tests of the configuration say and hear."""

from v1registry.config.drivers import DRIVERS

#: The smallest file that starts; more keys of its flavor can follow.
BASE = """\
dev:
    standalone: true
    storage: local
    storage_path: /srv/registry
"""

#: What is said of a driver that this version does not have.
NO_SUCH_DRIVER = f"is not available in this version (available: {', '.join(sorted(DRIVERS))})"
