"""The history of an image: one row for each layer, as lines of a Dockerfile."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from v1registry.api.services import RegistryServices
from v1registry.lib.errors import Failure
from v1registry.lib.images.description import describe
from v1registry.lib.images.images import Image
from v1registry.lib.layers.scan import LayerDescriptor
from v1registry.lib.running import for_size
from v1registry.lib.support.cache import Cache
from v1registry.web.text_budget import TextBudget

SIZE = 40  # layers on a page
_TEXT = (18_000, 400)  # bytes of all commands on a page, and of one
_CACHED = 5000  # steps, about 5 MB


@dataclass(frozen=True, slots=True)
class Step:
    """What made a layer: an instruction of a Dockerfile, and its arguments, which may be cut.

    `is_empty`: the image JSON says that the unpacked layer has no bytes.
    """

    instruction: str
    arguments: str
    created: float | None
    is_empty: bool


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A layer of the history. `step` is None for a layer that is missing, or was not read in time."""

    id: str
    size: int | None
    is_empty: bool
    step: Step | None
    is_late: bool


class History:
    """Reads the history. A step is cached: images never change, and parsing a JSON may take long."""

    def __init__(self, services: RegistryServices) -> None:
        self._services = services
        life = services.config.cache_life
        self._steps: Cache[Step] = Cache(_CACHED, life, lambda _: 1)

    def page(self, layers: list[str], number: int, end: float) -> list[HistoryRow]:
        """Return page `number` (from 1) of these layers. After the time `end`, no more are read."""
        texts = TextBudget(*_TEXT)
        start = (number - 1) * SIZE
        return [self._row(layer, texts, end) for layer in layers[start : start + SIZE]]

    def _row(self, layer: str, texts: TextBudget, end: float) -> HistoryRow:
        is_late = time.monotonic() > end
        image = None if is_late else found(self._services, layer)
        if image is None:
            return HistoryRow(layer, None, False, None, is_late)
        step = self._steps.get(layer) or self._read(image)
        metadata = self._services.v2.blobs.known(image)
        is_empty = metadata.is_empty if isinstance(metadata, LayerDescriptor) else step.is_empty
        shown = replace(step, arguments=texts.cut(step.arguments))
        return HistoryRow(layer, image.size, is_empty, shown, False)

    def _read(self, image: Image) -> Step:
        about = for_size(self._services.compute, len(image.json))(describe, image.json)
        arguments = about.arguments[: _TEXT[1] + 1]
        step = Step(about.step, arguments, about.created, about.size == 0)
        self._steps.put(image.id, step)
        return step


def found(services: RegistryServices, layer: str) -> Image | None:
    """Return the image of a layer, or None if it is missing."""
    try:
        return services.images.find(layer)
    except Failure:  # its data is lost
        return None
