"""The HTTP endpoints: one blueprint a noun. Each parses a request, checks access and calls `lib`."""
