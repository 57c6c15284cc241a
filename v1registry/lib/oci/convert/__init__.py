"""Conversion of a v1 image to a config and manifests for v2 clients: pure functions without I/O.

The result must have the same bytes on every node, after every restart and in every later version,
because clients pin digests. So nothing here depends on anything but the arguments.
"""

from v1registry.lib.oci.convert.config import Unconvertible, chain_ids, complete, image_config
from v1registry.lib.oci.convert.manifest import OCI, SCHEMA2, ManifestLayer, digest_of, manifest

__all__ = [
    "OCI",
    "SCHEMA2",
    "ManifestLayer",
    "Unconvertible",
    "chain_ids",
    "complete",
    "digest_of",
    "image_config",
    "manifest",
]
