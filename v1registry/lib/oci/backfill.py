"""The kind `blobs` of `v1registry backfill`: the layer metadata of all images, for v2 clients.

First it scans all layers that were never read, several at once. Then it converts every tag, so that
its digests can be found. The metadata of each layer is stored at once, so an interrupted backfill
continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from v1registry.lib.images.images import Images
from v1registry.lib.layers.scan import DamagedLayer
from v1registry.lib.names import ImageId, RepositoryName, Tag
from v1registry.lib.oci.convert import OCI, SCHEMA2
from v1registry.lib.oci.images import UnservableImage, V2Image, V2Images
from v1registry.lib.oci.layer_metadata import LayerMetadataStore
from v1registry.lib.repositories import walk
from v1registry.lib.repositories.backfill import BackfillRun
from v1registry.lib.repositories.catalog import is_listable
from v1registry.lib.repositories.tags import Tags
from v1registry.lib.running import in_pool
from v1registry.storage import Storage

_COUNTED = (
    "layers",
    "read",
    "bytes",
    "unfinished",
    "damaged",
    "tags",
    "unshown",
    "chains confirmed",
)
NAME_NOT_SHOWN = "no v2 client can ask for this name: it is served over v1 alone"
_AHEAD = 4  # items submitted for each thread at a time


@dataclass(frozen=True, slots=True)
class LayerMetadataBackfill:
    """Scans layers and converts tags."""

    name = "blobs"
    title = "layer metadata"

    storage: Storage
    images: Images
    tags: Tags
    blobs: LayerMetadataStore
    v2images: V2Images

    def build(self, run: BackfillRun) -> Mapping[str, int]:
        counts = dict.fromkeys(_COUNTED, 0)
        total = sum(1 for _ in walk.images(self.storage))
        most = run.jobs * _AHEAD
        with ThreadPoolExecutor(run.jobs) as pool:
            ids = walk.images(self.storage)
            for image_id, found in in_pool(pool, self._read(run.again), ids, most):
                counts["layers"] += 1
                counts["bytes"] += found[0]
                counts["read"] += bool(found[0])
                counts["unfinished"] += found[1] is None
                if isinstance(found[1], DamagedLayer):
                    counts["damaged"] += 1
                    run.problems.append({"image": image_id, "problem": str(found[1])})
                run.progress("layers", counts["layers"], total, counts["bytes"])
            shown_tags = in_pool(pool, self._show, self._all_tags(run), most)
            for (repository, tag, id), shown in shown_tags:
                counts["tags"] += 1
                if isinstance(shown, UnservableImage):
                    counts["unshown"] += 1
                    row = {"repository": str(repository), "tag": tag, "image": id}
                    run.problems.append({**row, "problem": str(shown)})
                else:
                    counts["chains confirmed"] += shown.chain_confirmed
                    if run.tags is not None:
                        run.tags.append(_row(repository, tag, shown))
                run.progress("tags", counts["tags"], None)
        return counts

    def _read(self, again: bool) -> Callable[[ImageId], tuple[int, object]]:
        """Return a function that reads a layer if necessary: bytes read, and the metadata."""

        def read(image_id: ImageId) -> tuple[int, object]:
            image = self.images.find(image_id)
            if image is None:
                return 0, None
            known = self.blobs.known(image)
            if known is None or (again and isinstance(known, DamagedLayer)):
                return image.size or 0, self.blobs.compute(image)
            if not isinstance(known, DamagedLayer):
                self.blobs.index(image, known)
            return 0, known

        return read

    def _all_tags(self, run: BackfillRun) -> Iterator[tuple[RepositoryName, str, str]]:
        for repository in walk.repositories(self.storage, run.left_out):
            name = str(repository)
            listable = is_listable(name)
            for tag, image_id in self.tags.each(repository, run.unreadable(repository)):
                if not listable or not Tag.is_valid(tag):
                    run.left_out(name, tag if listable else "", NAME_NOT_SHOWN)
                yield repository, tag, image_id

    def _show(self, tag: tuple[RepositoryName, str, str]) -> V2Image | UnservableImage:
        try:
            return self.v2images.get(ImageId(tag[2]))
        except UnservableImage as reason:
            return reason


def _row(repository: RepositoryName, tag: str, shown: V2Image) -> dict[str, object]:
    """Return the v1 id of a tag and its v2 digests."""
    return {
        "repository": str(repository),
        "tag": tag,
        "image": shown.id,
        "image_id": shown.config_digest,
        "manifest": shown.manifests[SCHEMA2].digest,
        "oci_manifest": shown.manifests[OCI].digest,
        "notes": list(shown.notes),
    }
