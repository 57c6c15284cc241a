"""Decompression of zstd, an optional extra. Other tools compress layers and archives with it."""

from __future__ import annotations

import importlib
from typing import Any

from v1registry.lib.layers.tar_stream import LayerUnreadable, Readable
from v1registry.storage.errors import installing
from v1registry.transfer.errors import TransferError

MAGIC = b"\x28\xb5\x2f\xfd"
_WINDOW = 1 << 27  # bytes of memory that a frame may need; `zstd --ultra -22` needs as many


class Unpacked:
    """A file that decompresses another file."""

    def __init__(self, file: Readable, what: str) -> None:
        """`what` names the compressed file. Raise TransferError if zstandard is not installed."""
        try:
            self._zstandard: Any = importlib.import_module("zstandard")
        except ModuleNotFoundError:
            raise TransferError(
                f"{what} is compressed with zstd, and zstandard is not installed:"
                f" {installing('zstd')}"
            ) from None
        decompressor = self._zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        self._reader = decompressor.stream_reader(file, read_across_frames=True)

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes. Raise LayerUnreadable."""
        try:
            return bytes(self._reader.read(size))
        except self._zstandard.ZstdError as error:
            raise LayerUnreadable(f"the compressed layer is damaged: {error}") from None
