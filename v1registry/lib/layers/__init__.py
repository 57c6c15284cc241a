"""The bytes of a layer: decompression, tar, TarSum, scan, file lists and diffs."""
