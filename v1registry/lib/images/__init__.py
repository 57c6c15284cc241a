"""Images: staged uploads, commit records, reading, and removing what broken pushes left."""
