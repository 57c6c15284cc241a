"""The store at a glance, for administrators: totals, health, free space, garbage collections."""

from __future__ import annotations

from flask import Blueprint, Response

from v1registry.api.authorize import without_check
from v1registry.api.services import RegistryServices, Services
from v1registry.lib.maintenance.overview import overview
from v1registry.lib.support.health import Health
from v1registry.web.access import is_administrator, require_administrator
from v1registry.web.render import Entry, page
from v1registry.web.texts import mark

#: name of a service -> what the page calls it
_SERVICES = {"storage": mark("Store"), "database": mark("Database"), "redis": mark("Shared cache")}

#: driver of the configuration -> what the page calls it
_DRIVERS = {"local": mark("local files"), "file": mark("local files")}
_DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "postgres": "PostgreSQL"}


def add(routes: Blueprint, services: Services) -> list[Entry]:
    """Add the view."""
    health = Health(services.services)
    storage = services.storage if isinstance(services, RegistryServices) else None
    switch = services.read_only_switch if isinstance(services, RegistryServices) else None

    @routes.get("/store")
    @without_check("it checks itself: only administrators")
    def store() -> Response:
        require_administrator(services)
        found = overview(health, services.search, storage, switch)
        states = [
            (_SERVICES.get(name, name), _kind(services, name), works)
            for name, works in found.services.items()
        ]
        return page(
            "store.html",
            found=found,
            states=states,
            has_store=storage is not None,
            is_read_only=services.config.read_only,
        )

    return [Entry("store", mark("Store"), lambda: is_administrator(services))]


def _kind(services: Services, name: str) -> str:
    """Return the kind of a service, without addresses and passwords."""
    config = services.config
    if name == "storage":
        driver = str(config.storage["storage"])
        return _DRIVERS.get(driver, driver)
    if name == "database":
        scheme = (config.index.database or "").partition(":")[0].partition("+")[0]
        return _DATABASES.get(scheme, "")
    return "Redis" if name == "redis" else ""
