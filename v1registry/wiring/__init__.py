"""Builds the services from a checked configuration."""
