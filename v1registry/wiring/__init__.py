"""Putting the services together from a checked configuration."""
