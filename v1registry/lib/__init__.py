"""The domain: what an image, an upload, a tag and a repository are. Knows no HTTP server."""
