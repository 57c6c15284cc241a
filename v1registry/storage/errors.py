"""What can go wrong in a store, seen from above: a driver raises nothing else."""


class StorageError(Exception):
    """Base of every failure that a driver raises; the text names the key and the cause."""


class NotFound(StorageError):
    """Nothing is stored under the key."""


class Refused(StorageError):
    """The store answered, and will not: no permission, read-only, broken object."""


class Full(Refused):
    """The store has no room left (disk, inodes or quota)."""


class Unavailable(StorageError):
    """The store did not answer, or answered that it cannot now: try again later."""
