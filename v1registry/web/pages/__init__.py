"""The pages, one module a noun. Each has `add(routes, services)`, see `web.blueprint`."""
