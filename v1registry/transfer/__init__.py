"""The way out, and back in: images of the store to v2 registries and archives, and from archives.

Plain blocking code on threads, for the command line; a serving process never imports this.
"""
