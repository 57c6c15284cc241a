"""The v2 view: the read-only endpoints that current clients pull from (docs/v2.md).

They follow the OCI distribution specification and Docker's own registry where it does more.
"""

from v1registry.api.v2.routes import blueprint

__all__ = ["blueprint"]
