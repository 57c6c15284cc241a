"""The services that `create_app` builds once and passes to every blueprint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from v1registry.api.authorize import Authorizer
from v1registry.config import Config
from v1registry.lib.auth.bearer import Bearer
from v1registry.lib.images.cleaner import Cleaner
from v1registry.lib.images.images import Images
from v1registry.lib.images.listings import Listings
from v1registry.lib.images.upload import Uploads
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.oci.images import V2Images
from v1registry.lib.oci.layer_metadata import LayerMetadataStore
from v1registry.lib.oci.lookup import Lookup
from v1registry.lib.oci.scan_queue import ScanQueue
from v1registry.lib.oci.tag_list import TagList
from v1registry.lib.repositories.backfill import Backfill
from v1registry.lib.repositories.catalog import RepositoryCatalog
from v1registry.lib.repositories.image_list import ImageListStore
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.search import Search
from v1registry.lib.repositories.tags import Tags
from v1registry.lib.running import Run
from v1registry.lib.support.cache import SharedCache
from v1registry.lib.support.health import Service
from v1registry.lib.support.periodic import PeriodicTask
from v1registry.storage import Storage
from v1registry.storage.readonly import ReadOnlySwitch

if TYPE_CHECKING:  # a registry without a database does not load SQLAlchemy
    from v1registry.index.accounts import AccountStore
    from v1registry.index.administration import Administration
    from v1registry.index.namespaces import Namespaces
    from v1registry.index.people import IndexUsers
    from v1registry.index.pulls import SqlPullCounter
    from v1registry.index.repositories import RepositoryRecords
    from v1registry.index.signup import SignUp
    from v1registry.index.social import Social
    from v1registry.index.tokenkeys import TokenKeys


@dataclass(frozen=True, slots=True)
class V2Services:
    """The services of the v2 view.

    `pushed`: the scan queue; None if pushed layers are not scanned. `unpack` runs one step of
    decompressing a layer for a client, and limits how many run at once.
    """

    blobs: LayerMetadataStore
    images: V2Images
    lookup: Lookup
    catalog: RepositoryCatalog
    tags: Tags
    bearer: Bearer
    pushed: ScanQueue | None
    tag_list: TagList
    unpack: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class IndexServices:
    """The registry's own index.

    `may_read(image, repository, user)` returns whether the image is readable through the repository or
    through any repository that `user` may read. `token_life` is in seconds; `longest_token` is the time
    after which a token that is issued now has expired on every node.
    """

    users: IndexUsers
    accounts: AccountStore
    administration: Administration
    sign_up: SignUp
    namespaces: Namespaces
    catalog: RepositoryRecords
    opinions: Social
    tokens: TokenKeys
    pulls: SqlPullCounter
    may_read: Callable[[ImageId, RepositoryName, str | None], bool]
    token_life: int
    longest_token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services that a registry and an index both have.

    `image_lists` belong to the index if there is one, else to the registry. `compute` runs work
    that would block the event loop, such as parsing large JSON.
    """

    config: Config
    authorizer: Authorizer
    search: Search
    image_lists: ImageListStore
    services: tuple[Service, ...]
    compute: Run
    periodic_tasks: tuple[PeriodicTask, ...]
    index: IndexServices | None  # our own index
    prepare: Callable[[], None]  # prepares services that may be unavailable at the start
    session_secret: Callable[[], bytes | None]  # signs sessions of the pages; None: there is none

    is_index_only = False  # whether this process is an index without a registry


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAppServices(Services):
    """The services of an index without a registry."""

    is_index_only = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryServices(Services):
    """The services of a registry with one store."""

    storage: Storage
    read_only_switch: ReadOnlySwitch
    images: Images
    uploads: Uploads
    listings: Listings
    repositories: Repositories
    cleaner: Cleaner
    references: RepositoryReferences
    backfills: tuple[Backfill, ...]
    v2: V2Services
    shared_cache: SharedCache | None
