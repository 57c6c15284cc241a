"""What `create_app` builds once and hands to every blueprint."""

from __future__ import annotations

from dataclasses import dataclass

from v1registry.api.door import Door
from v1registry.config import Config
from v1registry.lib.cache import Level
from v1registry.lib.cleaner import Cleaner
from v1registry.lib.facts import Facts
from v1registry.lib.imagelist import ImageLists
from v1registry.lib.images import Images
from v1registry.lib.listings import Listings
from v1registry.lib.reach import Reach
from v1registry.lib.repositories import Repositories
from v1registry.lib.search import Search
from v1registry.lib.uploads import Uploads
from v1registry.storage import Storage


@dataclass(frozen=True, slots=True)
class Parts:
    """The domain, wired to one store."""

    config: Config
    storage: Storage
    images: Images
    uploads: Uploads
    listings: Listings
    repositories: Repositories
    image_lists: ImageLists
    search: Search
    cleaner: Cleaner
    reach: Reach
    door: Door
    facts: tuple[Facts, ...]
    shared_cache: Level | None
