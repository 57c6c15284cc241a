"""A v1 image as v2 clients see it: config, manifests, layers.

All of it is a pure function of the stored v1 files (`lib.oci.convert`). So every node computes the
same digests at any time. The result is cached in memory, and only its digests are stored, in the
digest index.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace

from v1registry.lib import documents
from v1registry.lib.images.images import Image, Images, parent_of
from v1registry.lib.layers.scan import DamagedLayer, LayerDescriptor
from v1registry.lib.names import ImageId
from v1registry.lib.oci import convert
from v1registry.lib.oci.convert import OCI, SCHEMA2, ManifestLayer, Unconvertible
from v1registry.lib.oci.digest_index import DigestIndex, Kind
from v1registry.lib.oci.layer_metadata import LayerMetadataStore
from v1registry.lib.running import Run, collector_off, for_size, in_place
from v1registry.lib.support.cache import Cache
from v1registry.lib.support.single_flight import SingleFlightCache

_MOST_LAYERS = 1000  # engines make at most 127
_OVERHEAD = 1024
_SHARE = 4  # a config larger than this fraction of the cache (1/4) is not cached

KINDS: dict[str, Kind] = {SCHEMA2: "schema2", OCI: "oci"}


class UnservableImage(Exception):
    """The image cannot be served over v2; the text says why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest in one of the two media types."""

    media_type: str
    digest: str
    data: bytes


@dataclass(frozen=True, slots=True)
class V2Image:
    """An image as v2 clients see it.

    Docker uses `config_digest` as the image id. `layers` are (image id, metadata), the base image
    first. `manifests` are by media type. `notes` name problems that do not prevent serving the image.
    `as_ancestry`: the stored ancestry agrees with the parents in the JSONs. `chain_confirmed`: the
    image ids prove that these are the layers that Docker 1.10 or later pushed.
    """

    id: ImageId
    config: bytes
    config_digest: str
    manifests: dict[str, Manifest]
    layers: tuple[tuple[ImageId, LayerDescriptor], ...]
    notes: tuple[str, ...]
    as_ancestry: bool
    chain_confirmed: bool


@dataclass(eq=False)
class V2Images:
    """Converts images. `cache_limit` in bytes, `cache_life` in seconds; `compute` runs conversions."""

    images: Images
    blobs: LayerMetadataStore
    digests: DigestIndex
    _: KW_ONLY
    cache_limit: int
    cache_life: float
    compute: Run = in_place

    def __post_init__(self) -> None:
        self._largest = self.cache_limit // _SHARE
        self._cache: Cache[V2Image | UnservableImage] = Cache(
            self.cache_limit, self.cache_life, _size
        )
        self._running: SingleFlightCache[V2Image] = SingleFlightCache(0)

    def get(self, image_id: ImageId, *, whole: bool = True) -> V2Image:
        """Return the image, after scanning layers that were never read. Raise UnservableImage.

        If not `whole`, a large config may be missing (b""), because it is not cached.
        """
        known = self._cache.get(image_id)
        if known is None or (isinstance(known, V2Image) and whole and not known.config):
            return self._running.get(image_id, lambda: self._make(image_id))
        if isinstance(known, UnservableImage):
            raise UnservableImage(str(known))
        return known

    def _make(self, image_id: ImageId) -> V2Image:
        chain = self._chain(image_id)
        layers = tuple((image.id, self._layer(image)) for image in chain)
        run = for_size(self.compute, sum(len(image.json) for image in chain))
        try:
            shown: V2Image = run(_convert, image_id, chain, layers)
        except UnservableImage as reason:
            self._cache.put(image_id, reason)  # the JSONs never change
            raise
        self._note(shown)
        is_large = len(shown.config) > self._largest
        self._cache.put(image_id, replace(shown, config=b"") if is_large else shown)
        return shown

    def _chain(self, image_id: ImageId) -> list[Image]:
        """Return the image and its ancestors, the base image first."""
        found: dict[str, Image] = {}
        wanted: str | None = image_id
        while wanted is not None:
            if wanted in found:
                raise UnservableImage("its ancestors form a loop")
            if len(found) == _MOST_LAYERS:
                raise UnservableImage(f"it has more than {_MOST_LAYERS} layers")
            image = self.images.find(wanted)
            if image is None:
                raise UnservableImage(f"{wanted} is missing or not complete")
            found[wanted] = image
            wanted = for_size(self.compute, len(image.json))(parent_of, image.json)
        return list(reversed(found.values()))

    def _layer(self, image: Image) -> LayerDescriptor:
        try:
            return self.blobs.get(image)
        except DamagedLayer as error:
            raise UnservableImage(f"{image.id}: {error}") from None

    def _note(self, shown: V2Image) -> None:
        self.digests.note(shown.config_digest, "config", shown.id)
        for media_type, manifest in shown.manifests.items():
            self.digests.note(manifest.digest, KINDS[media_type], shown.id)
        if not shown.as_ancestry:
            for _, metadata in shown.layers:
                self.digests.note(metadata.digest, "part", shown.id)


@collector_off()
def _convert(
    image_id: ImageId, chain: list[Image], layers: tuple[tuple[ImageId, LayerDescriptor], ...]
) -> V2Image:
    """Convert the image at the end of this chain; the base image is first. Raise UnservableImage."""
    as_ancestry = [image.id for image in reversed(chain)] == chain[-1].ancestors
    notes = []
    if not as_ancestry:
        notes.append("the ancestry differs from the parents in the JSON: the parents are used")
    diff_ids = [metadata.diff_id for _, metadata in layers]
    try:
        engines = convert.image_config([image.json for image in chain], diff_ids)
    except Unconvertible as error:
        raise UnservableImage(str(error)) from None
    config = convert.complete(engines)
    if config != engines:
        notes.append("os or architecture is missing: completed, so engines show another id")
    blobs = [
        ManifestLayer(metadata.digest, metadata.size, metadata.gzipped) for _, metadata in layers
    ]
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
    """Return whether all ancestors have the ids that Docker 1.10 and later derive from the layers.

    These engines push each ancestor with only `id` and `parent`, and its id is its chain id. If the
    ids do not match, the image is not necessarily damaged: these engines write the tar anew during a
    push, and not always with the same bytes.
    """
    ids = convert.chain_ids(diff_ids)
    ancestors = list(zip(chain[:-1], ids, strict=False))
    return bool(ancestors) and all(
        f"sha256:{image.id}" == id and _is_bare(image) for image, id in ancestors
    )


def _is_bare(image: Image) -> bool:
    return set(documents.load(image.json)) <= {"id", "parent"}


def _size(shown: V2Image | UnservableImage) -> int:
    if isinstance(shown, UnservableImage):
        return _OVERHEAD
    manifests = sum(len(manifest.data) for manifest in shown.manifests.values())
    return len(shown.config) + manifests + 200 * len(shown.layers) + _OVERHEAD
