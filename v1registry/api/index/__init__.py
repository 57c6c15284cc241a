"""JSON for tools that use an index of our own: accounts, repositories, stars, comments."""
