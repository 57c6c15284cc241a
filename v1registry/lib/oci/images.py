"""A v1 image as v2 clients see it: configuration, manifests, layers.

All of it is a pure function of the stored v1 files (`lib.convert`), so every node
shows the same digests at any time; it is kept in memory alone, and only the
digests are noted in the store, to be found by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from v1registry.lib import documents
from v1registry.lib.images.images import Image, Images, parent_of
from v1registry.lib.layers.scan import DamagedLayer, LayerDescriptor
from v1registry.lib.names import ImageId
from v1registry.lib.oci import convert
from v1registry.lib.oci.convert import OCI, SCHEMA2, ManifestLayer, Unconvertible
from v1registry.lib.oci.digest_index import Digests, Kind
from v1registry.lib.oci.layer_metadata import LayerMetadataStore
from v1registry.lib.running import Run, collector_off, for_size, in_place
from v1registry.lib.support.cache import Cache
from v1registry.lib.support.single_flight import SingleFlightCache

_MOST_LAYERS = 1000  # engines make 127 at most
_OVERHEAD = 1024
_SHARE = 4  # a configuration that takes more than one part of so many of the cache is not kept

KINDS: dict[str, Kind] = {SCHEMA2: "schema2", OCI: "oci"}


class NotShown(Exception):
    """The image cannot be shown over v2; the text says why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest in one of the two forms."""

    media_type: str
    digest: str
    data: bytes


@dataclass(frozen=True, slots=True)
class V2Image:
    """`config_digest` is what Docker calls the image id; `layers` and their ids, base first.

    `manifests` by media type. `notes` say what is odd about the image and does
    not keep it from being shown. `as_ancestry`: the stored ancestry says the same
    as the parents in the JSONs. `chain_confirmed`: the layers are those that an
    engine from 1.10 on pushed, by the ids that it made of them.
    """

    id: ImageId
    config: bytes
    config_digest: str
    manifests: dict[str, Manifest]
    layers: tuple[tuple[ImageId, LayerDescriptor], ...]
    notes: tuple[str, ...]
    as_ancestry: bool
    chain_confirmed: bool


class V2Images:
    """Makes them. `cache_limit` in bytes, `cache_life` in seconds; `compute` runs conversions."""

    def __init__(
        self,
        images: Images,
        blobs: LayerMetadataStore,
        digests: Digests,
        *,
        cache_limit: int,
        cache_life: float,
        compute: Run = in_place,
    ) -> None:
        self._images = images
        self._compute = compute
        self._blobs = blobs
        self._digests = digests
        self._largest = cache_limit // _SHARE
        self._cache: Cache[V2Image | NotShown] = Cache(cache_limit, cache_life, _size)
        self._running: SingleFlightCache[V2Image] = SingleFlightCache(0)

    def get(self, image_id: ImageId, *, whole: bool = True) -> V2Image:
        """The image; its layers are read first where nobody did so yet. Raises NotShown.

        Not `whole`: a large configuration, which is not cached, may be missing (b"").
        """
        known = self._cache.get(image_id)
        if known is None or (isinstance(known, V2Image) and whole and not known.config):
            return self._running.get(image_id, lambda: self._make(image_id), lambda _: False)
        if isinstance(known, NotShown):
            raise NotShown(str(known))
        return known

    def _make(self, image_id: ImageId) -> V2Image:
        chain = self._chain(image_id)
        layers = tuple((image.id, self._layer(image)) for image in chain)
        run = for_size(self._compute, sum(len(image.json) for image in chain))
        try:
            shown: V2Image = run(_convert, image_id, chain, layers)
        except NotShown as reason:
            self._cache.put(image_id, reason)  # the JSONs never change
            raise
        self._note(shown)
        is_large = len(shown.config) > self._largest
        self._cache.put(image_id, replace(shown, config=b"") if is_large else shown)
        return shown

    def _chain(self, image_id: ImageId) -> list[Image]:
        """The image and its ancestors, the base first."""
        found: dict[str, Image] = {}
        wanted: str | None = image_id
        while wanted is not None:
            if wanted in found:
                raise NotShown("its ancestors go round in a circle")
            if len(found) == _MOST_LAYERS:
                raise NotShown(f"it has more than {_MOST_LAYERS} layers")
            image = self._images.find(wanted)
            if image is None:
                raise NotShown(f"{wanted} is missing or not whole")
            found[wanted] = image
            wanted = for_size(self._compute, len(image.json))(parent_of, image.json)
        return list(reversed(found.values()))

    def _layer(self, image: Image) -> LayerDescriptor:
        try:
            return self._blobs.get(image)
        except DamagedLayer as error:
            raise NotShown(f"{image.id}: {error}") from None

    def _note(self, shown: V2Image) -> None:
        self._digests.note(shown.config_digest, "config", shown.id)
        for media_type, manifest in shown.manifests.items():
            self._digests.note(manifest.digest, KINDS[media_type], shown.id)
        if not shown.as_ancestry:
            for _, facts in shown.layers:
                self._digests.note(facts.digest, "part", shown.id)


def _convert(
    image_id: ImageId, chain: list[Image], layers: tuple[tuple[ImageId, LayerDescriptor], ...]
) -> V2Image:
    """The image whose chain this is, with its layers, the base first. Raises NotShown."""
    with collector_off():
        return _converted(image_id, chain, layers)


def _converted(
    image_id: ImageId, chain: list[Image], layers: tuple[tuple[ImageId, LayerDescriptor], ...]
) -> V2Image:
    as_ancestry = [image.id for image in reversed(chain)] == chain[-1].ancestors
    notes = []
    if not as_ancestry:
        notes.append("ancestry and the parents in the JSON differ: the parents count")
    diff_ids = [facts.diff_id for _, facts in layers]
    try:
        engines = convert.image_config([image.json for image in chain], diff_ids)
    except Unconvertible as error:
        raise NotShown(str(error)) from None
    config = convert.complete(engines)
    if config != engines:
        notes.append("os or architecture is missing: completed, so engines show another id")
    blobs = [ManifestLayer(facts.digest, facts.size, facts.gzipped) for _, facts in layers]
    manifests = {}
    for media_type in KINDS:
        data = convert.manifest(media_type, config, blobs)
        manifests[media_type] = Manifest(media_type, convert.digest_of(data), data)
    return V2Image(
        image_id,
        config,
        convert.digest_of(config),
        manifests,
        layers,
        tuple(notes),
        as_ancestry,
        _is_confirmed(chain, diff_ids),
    )


def _is_confirmed(chain: list[Image], diff_ids: list[str]) -> bool:
    """Whether all ancestors have the ids that engines from 1.10 on make of their layers.

    An image below the uppermost one is pushed by them with `id` and `parent`
    alone, and its id is its chain id. What is not confirmed is no sign of damage:
    these engines write the archive anew on its way, and not always as it was.
    """
    ids = convert.chain_ids(diff_ids)
    ancestors = list(zip(chain[:-1], ids, strict=False))
    return bool(ancestors) and all(
        f"sha256:{image.id}" == id and _is_bare(image) for image, id in ancestors
    )


def _is_bare(image: Image) -> bool:
    return set(documents.load(image.json)) <= {"id", "parent"}


def _size(shown: V2Image | NotShown) -> int:
    if isinstance(shown, NotShown):
        return _OVERHEAD
    manifests = sum(len(manifest.data) for manifest in shown.manifests.values())
    return len(shown.config) + manifests + 200 * len(shown.layers) + _OVERHEAD
