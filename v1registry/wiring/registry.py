"""The services of a registry, built once from a checked configuration."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any

from v1registry.api.authorize import Authorizer
from v1registry.api.services import IndexAppServices, RegistryServices, Services, V2Services
from v1registry.auth.load import rights_of
from v1registry.config import Config
from v1registry.lib.auth.bearer import Bearer
from v1registry.lib.auth.rights import Rights
from v1registry.lib.images import shared_cache as sharedimages
from v1registry.lib.images.cleaner import Cleaner
from v1registry.lib.images.commit import Commits
from v1registry.lib.images.hidden import HiddenImages
from v1registry.lib.images.images import Images
from v1registry.lib.images.listings import Listings
from v1registry.lib.images.push_provenance import PushProvenance
from v1registry.lib.images.shared_cache import SharedImages
from v1registry.lib.images.upload import Uploads
from v1registry.lib.oci.backfill import LayerMetadataBackfill
from v1registry.lib.oci.digest_index import DigestIndex
from v1registry.lib.oci.images import V2Images
from v1registry.lib.oci.layer_metadata import LayerMetadataStore
from v1registry.lib.oci.lookup import Lookup
from v1registry.lib.oci.scan_queue import ScanQueue
from v1registry.lib.oci.tag_list import TagList
from v1registry.lib.repositories.backfill import ReferenceBackfill
from v1registry.lib.repositories.catalog import RepositoryCatalog
from v1registry.lib.repositories.image_access import ImageRights
from v1registry.lib.repositories.image_list import ImageLists
from v1registry.lib.repositories.immutable import ImmutableTags
from v1registry.lib.repositories.name_index import RepositoryNameIndex
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.search import StoreSearch
from v1registry.lib.repositories.tags import Tags
from v1registry.lib.support import lease
from v1registry.lib.support.cache import SharedCache
from v1registry.lib.support.health import StoreCheck
from v1registry.lib.support.periodic import PeriodicTask
from v1registry.lib.support.stored_secret import StoredSecret
from v1registry.server.deadline import within
from v1registry.server.preload import StoreIds
from v1registry.server.thread_pool import run_in_thread
from v1registry.storage import Storage, keys
from v1registry.wiring.attached import AttachedIndex
from v1registry.wiring.store import opened, place
from v1registry.wiring.web import session_secret

# Jobs of each kind that run at once in a worker. With more, fsync would wait for a free thread.
_HEAVY_AT_ONCE = 2  # decompressions
_COMPUTED_AT_ONCE = 2  # large JSON documents and lists: each slows down all other threads
_UNPACKED_AT_ONCE = 2  # steps of unpacking layers for v2 clients
_HASHES_AT_ONCE = 2  # password hashes

_SESSIONS = f"{keys.OURS}/web-secret"


def build_services(config: Config) -> Services:
    """Return the services of a registry, or of an index alone if the configuration says so.

    Raise StorageError if the store cannot be used.
    """
    return _build_index(config) if config.index.alone else build_registry(config)


def build_registry(config: Config) -> RegistryServices:
    """Return the services of a registry, on the configured store.

    Raise StorageError if the store cannot be used.
    """
    store = opened(config, run_in_thread, StoreIds.of_server)
    store.prepare()
    heavy = limited(run_in_thread, _HEAVY_AT_ONCE)
    compute = limited(run_in_thread, _COMPUTED_AT_ONCE)
    hashing = limited(run_in_thread, _HASHES_AT_ONCE)
    max_bytes = config.limits.files_bytes
    commits = Commits(store)
    shared_images, shared_cache = _shared(config, store)
    read = Images(
        store,
        commits,
        cache_limit=config.cache_memory,
        cache_life=config.cache_life,
        shared=shared_images,
        hidden=HiddenImages(store),
    )
    tags = Tags(store, compute)
    references = RepositoryReferences(store, read, tags, compute)
    attached = _attached(config, store, references, shared_cache, hashing)
    immutable = ImmutableTags(store, tags, config.immutable_tags)
    repositories = Repositories(store, read, tags, references, attached.events, immutable)
    provenance = PushProvenance(store, config.uploads_life)
    image_lists = ImageLists(store, compute)
    rights = attached.rights or rights_of(
        config,
        repositories.was_private,
        image_lists.note_members,
        shared_cache or attached.counts,
        hashing,
        within,
    )
    cleaner = Cleaner(store, commits)
    v2 = _v2(config, store, read, tags, repositories, references, heavy, compute)
    return RegistryServices(
        config=config,
        storage=store,
        read_only_switch=store.switch,
        images=read,
        uploads=Uploads(
            store, read, commits, heavy, provenance, max_bytes=max_bytes, compute=compute
        ),
        listings=Listings(
            store, read, heavy, max_bytes=max_bytes, max_entries=config.limits.files_entries
        ),
        repositories=repositories,
        image_lists=image_lists,
        search=attached.search(rights) or _store_search(config, store, tags, rights),
        services=tuple(filter(None, (shared_cache, StoreCheck(store), attached.service))),
        compute=compute,
        periodic_tasks=(*_cleaning(config, store, cleaner), *attached.periodic_tasks),
        index=attached.index,
        prepare=attached.prepare,
        session_secret=session_secret(
            config, StoredSecret(store, _SESSIONS, read_only=config.read_only).get
        ),
        cleaner=cleaner,
        references=references,
        authorizer=_authorizer(config, rights, references, provenance, repositories),
        backfills=(
            ReferenceBackfill(store, tags, references, image_lists),
            LayerMetadataBackfill(store, read, tags, v2.blobs, v2.images),
        ),
        v2=v2,
        shared_cache=shared_cache,
    )


def _authorizer(
    config: Config,
    rights: Rights,
    references: RepositoryReferences,
    provenance: PushProvenance,
    repositories: Repositories,
) -> Authorizer:
    return Authorizer(
        rights,
        ImageRights(rights, references, provenance),
        repositories.is_private,
        user_header=config.accounts.user_header,
        groups_header=config.accounts.groups_header,
    )


def _store_search(config: Config, store: Storage, tags: Tags, rights: Rights) -> StoreSearch:
    names = RepositoryNameIndex(store, run_in_thread, read_only=config.read_only)
    return StoreSearch(names, tags, rights)


def _attached(
    config: Config,
    store: Storage,
    references: RepositoryReferences,
    counts: SharedCache | None,
    hashing: Callable[..., Any],
) -> AttachedIndex:
    """Return what the configured database adds to a registry; without a database, nothing."""
    if config.database is None:
        return AttachedIndex()
    from v1registry.wiring import index  # only here: SQLAlchemy takes much memory

    return index.attached(config, store, references, counts, run_in_thread, hashing, within)


def _build_index(config: Config) -> IndexAppServices:
    from v1registry.wiring import index

    return index.build_index(config, run_in_thread, limited(run_in_thread, _HASHES_AT_ONCE), within)


def _v2(
    config: Config,
    store: Storage,
    images: Images,
    tags: Tags,
    repositories: Repositories,
    references: RepositoryReferences,
    heavy: Callable[..., Any],
    compute: Callable[..., Any],
) -> V2Services:
    """Return the services of the v2 API. Each of its three caches gets a quarter of `cache_memory`."""
    limits: dict[str, Any] = {
        "cache_limit": config.cache_memory // 4,
        "cache_life": config.cache_life,
    }
    digests = DigestIndex(store, **limits, read_only=config.read_only)
    max_bytes = config.limits.files_bytes
    blobs = LayerMetadataStore(
        store, images, digests, heavy, max_bytes=max_bytes, read_only=config.read_only, **limits
    )
    v2_images = V2Images(images, blobs, digests, **limits, compute=compute)
    lookup = Lookup(repositories, references, images, blobs, v2_images, digests)
    scans = config.v2.enabled and not config.read_only and config.v2.read_pushed
    pushed = ScanQueue(config.v2.read_pushed) if scans else None
    bearer = Bearer(store, read_only=config.read_only, skew=config.clock_skew)
    unpack = limited(run_in_thread, _UNPACKED_AT_ONCE)
    catalog = RepositoryCatalog(store, run_in_thread)
    tag_list = TagList(
        repositories,
        tags,
        images,
        blobs,
        v2_images,
        with_digests=config.v2.enabled,
        cache_life=config.cache_life,
        compute=compute,
    )
    return V2Services(blobs, v2_images, lookup, catalog, tags, bearer, pushed, tag_list, unpack)


def _cleaning(config: Config, store: Storage, cleaner: Cleaner) -> tuple[PeriodicTask, ...]:
    """Return the periodic task that runs the cleaner; none for a process that must not write."""
    interval = config.clean_interval

    def clean() -> str | None:
        if not lease.take(store, "clean", 0.9 * interval):
            return None  # another process holds the lease
        report = run_in_thread(cleaner.clean, time.time() - config.uploads_life)
        return str(report) if report.any() else None

    if not interval or config.read_only:
        return ()
    return (PeriodicTask("Cleaned up", interval, clean),)


def _shared(config: Config, store: Storage) -> tuple[SharedImages | None, SharedCache | None]:
    """Return the images in the shared cache, and the shared cache. Opens no connection."""
    if config.redis is None:
        return None, None
    from v1registry.cache.redis import RedisCache  # an optional dependency

    secret = sharedimages.secret_of(store, place(config.storage), read_only=config.read_only)
    prefix = config.cache_prefix or f"v1registry:{sharedimages.name_of(secret)}:"
    cache = RedisCache(
        config.redis,
        prefix,
        life=config.cache_shared_life,
        limit=config.cache_shared_limit,
        within=within,
    )
    return SharedImages(cache, secret), cache


def limited(run: Callable[..., Any], at_once: int) -> Callable[..., Any]:
    """Return `run` with at most `at_once` calls at the same time; further calls wait."""
    slots = threading.BoundedSemaphore(at_once)

    @functools.wraps(run)
    def limited_run(*args: Any) -> Any:
        with slots:
            return run(*args)

    return limited_run
