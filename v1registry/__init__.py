"""v1registry: the Docker Registry v1 protocol, served from the stores that 0.x wrote."""

__version__ = "1.1.0.dev0"
