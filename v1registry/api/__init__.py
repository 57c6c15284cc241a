"""HTTP: a blueprint per noun. Parses, checks who asks, calls `lib`, answers. Never touches storage."""
