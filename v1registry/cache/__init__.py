"""The caches that nodes share, behind `lib.support.cache.SharedCache`. Imported only if configured."""
