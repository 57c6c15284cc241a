"""Maintenance of the store: garbage collection, checks and repairs."""
