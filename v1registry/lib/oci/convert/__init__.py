"""From a v1 image to what today's clients pull: pure functions, no I/O.

An image's bytes must come out the same on every node, after every restart, for
ever: clients pin their digests. So nothing here depends on anything but its
arguments.
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
