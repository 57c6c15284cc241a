"""The v2 view: what clients of today pull, read-only (docs/v2.md).

Written after the OCI distribution specification and what Docker's own registry does beyond it.
"""

from v1registry.api.v2.routes import blueprint

__all__ = ["blueprint"]
