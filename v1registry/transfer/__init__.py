"""Transfers of images: from the store to v2 registries and archives, and from archives to the store.

The code is blocking and uses threads. Only commands import it, never a serving process.
"""
