"""Manifests: the bytes are fixed, because clients pin their digests."""

from __future__ import annotations

from v1registry.lib.oci.convert import OCI, SCHEMA2, ManifestLayer, digest_of, manifest

CONFIG = b'{"os":"linux"}'
LAYERS = [
    ManifestLayer("sha256:" + "1" * 64, 10, gzipped=True),
    ManifestLayer("sha256:" + "2" * 64, 2048, gzipped=False),
]


def test_schema_2() -> None:
    made = manifest(SCHEMA2, CONFIG, LAYERS)
    assert made == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
        b'"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":14,'
        b'"digest":"sha256:5809269daf2d55e988b09feecc13180c284754e4d2376d0f7297ab7c6a90b358"},'
        b'"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":10,'
        b'"digest":"sha256:' + b"1" * 64 + b'"},'
        b'{"mediaType":"application/vnd.docker.image.rootfs.diff.tar","size":2048,'
        b'"digest":"sha256:' + b"2" * 64 + b'"}]}'
    )


def test_oci() -> None:
    made = manifest(OCI, CONFIG, LAYERS)
    assert made.startswith(
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        b'"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":14,"digest":'
    )
    assert b"application/vnd.oci.image.layer.v1.tar+gzip" in made
    assert b'"application/vnd.oci.image.layer.v1.tar"' in made
    assert b"docker" not in made


def test_digest() -> None:
    assert digest_of(b"") == (
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
