"""Caches that nodes share: what lies behind `lib.cache.Level`. Imported only when configured."""
