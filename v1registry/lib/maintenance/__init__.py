"""Care of the store: garbage collection."""
