"""The smallest file that starts; more keys of its flavor can follow."""

BASE = """\
dev:
    standalone: true
    storage: local
    storage_path: /srv/registry
"""
