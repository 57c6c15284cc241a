"""Repositories: tags, image lists, references, names, catalog and search."""
