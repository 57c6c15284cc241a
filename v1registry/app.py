"""The application: every part built once, from a checked configuration."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Flask, request

from v1registry.api import answers, v2
from v1registry.api.authorize import Authorizer, unguarded
from v1registry.api.index import accounts, stars_comments
from v1registry.api.paths import AnyPath
from v1registry.api.services import IndexAppServices, RegistryServices, Services, V2Services
from v1registry.api.site import Site
from v1registry.api.v1 import image_lists as indexing
from v1registry.api.v1 import images, ping, repositories, repository_routes, search, users
from v1registry.auth.load import rights_of
from v1registry.config import Config
from v1registry.lib.auth.bearer import Bearer
from v1registry.lib.images import shared_cache as sharedimages
from v1registry.lib.images.cleaner import Cleaner
from v1registry.lib.images.commit import Commits
from v1registry.lib.images.images import Images
from v1registry.lib.images.listings import Listings
from v1registry.lib.images.push_provenance import PushProvenance
from v1registry.lib.images.shared_cache import SharedImages
from v1registry.lib.images.upload import Uploads
from v1registry.lib.oci.backfill import LayerMetadataBackfill
from v1registry.lib.oci.digest_index import Digests
from v1registry.lib.oci.images import V2Images
from v1registry.lib.oci.layer_metadata import LayerMetadataStore
from v1registry.lib.oci.lookup import Lookup
from v1registry.lib.oci.scan_queue import ScanQueue
from v1registry.lib.repositories.backfill import ReferenceBackfill
from v1registry.lib.repositories.catalog import RepositoryCatalog
from v1registry.lib.repositories.image_access import ImageRights
from v1registry.lib.repositories.image_list import ImageLists
from v1registry.lib.repositories.name_index import RepositoryNameIndex
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.repositories import Repositories
from v1registry.lib.repositories.search import StoreSearch
from v1registry.lib.repositories.tags import Tags
from v1registry.lib.support import lease
from v1registry.lib.support.cache import SharedCache
from v1registry.lib.support.health import StoreCheck
from v1registry.lib.support.periodic import PeriodicTask
from v1registry.server.deadline import within
from v1registry.server.preload import StoreIds
from v1registry.server.thread_pool import run_in_thread
from v1registry.storage import Storage
from v1registry.wiring.attached import AttachedIndex
from v1registry.wiring.store import opened, place, use_request_tokens

# What a worker computes at once: more would keep others' fsync waiting for a thread.
_HEAVY_AT_ONCE = 2  # decompressions
_COMPUTED_AT_ONCE = 2  # large JSONs and lists: each takes time of the interpreter from all others
_UNPACKED_AT_ONCE = 2  # steps of layers that are unpacked for v2 clients
_HASHES_AT_ONCE = 2  # of passwords


def create_app(config: Config) -> Flask:
    """The WSGI application. Raises what `build` raises."""
    parts = _index_alone(config) if config.index.alone else build(config)
    app = Site("v1registry", static_folder=None)
    app.url_map.strict_slashes = False  # a redirect would end an old engine's push
    app.url_map.merge_slashes = False
    app.url_map.converters["any_path"] = AnyPath
    answers.handle_errors(app)
    parts.prepare()
    for blueprint in _blueprints(parts):
        app.register_blueprint(blueprint)
    app.before_request(_refuse_nul)
    if config.read_only:
        app.before_request(answers.refuse_changes)
    elif isinstance(parts, RegistryServices):
        _refuse_without_marker(app, parts.storage)
    if isinstance(parts, RegistryServices):
        use_request_tokens(app, config)
    app.extensions["v1registry"] = parts
    if forgotten := unguarded(app):
        raise RuntimeError(f"endpoints without a rule of who may use them: {forgotten}")
    return app


def _refuse_nul() -> None:
    """For all endpoints but those of v2, which check it once they know that the client may see v2."""
    if not request.path.startswith("/v2"):
        answers.refuse_nul()


def _refuse_without_marker(app: Flask, store: Storage) -> None:
    """Answer 503 to what would write, before it is answered 404 because nothing is found."""

    def refuse() -> None:
        if answers.writes_to_store():
            store.require_marker(store.marker_seconds)

    app.before_request(refuse)


def _blueprints(parts: Services) -> Iterator[Blueprint]:
    """The endpoints: of the registry, of the index, or of both."""
    yield from (ping.blueprint(parts), search.blueprint(parts))
    there: repository_routes.Actions = {}
    if isinstance(parts, RegistryServices):
        yield from (images.blueprint(parts), v2.blueprint(parts))
        there = repositories.ACTIONS
        if parts.config.tells_an_index:
            there = repository_routes.joined(repositories.WITH_INDEX, there)
    if parts.index is not None:
        yield accounts.blueprint(parts, parts.index)
        yield stars_comments.blueprint(parts, parts.index)
    elif parts.config.standalone:
        yield users.blueprint(parts)
    if parts.index is not None or parts.config.standalone:
        there = repository_routes.joined(there, indexing.ACTIONS)
    yield repository_routes.blueprint(parts, there)


def build(config: Config) -> RegistryServices:
    """Wire the domain to the configured store.

    Raises StorageError when the store cannot be used.
    """
    store = opened(config, run_in_thread, StoreIds.of_server)
    store.prepare()
    heavy = limited(run_in_thread, _HEAVY_AT_ONCE)
    compute = limited(run_in_thread, _COMPUTED_AT_ONCE)
    max_bytes = config.limits.files_bytes
    commits = Commits(store)
    shared, level = _shared(config, store)
    read = Images(
        store,
        commits,
        cache_limit=config.cache_memory,
        cache_life=config.cache_life,
        shared=shared,
    )
    tags = Tags(store, compute)
    reach = RepositoryReferences(store, read, tags, compute)
    hashing = limited(run_in_thread, _HASHES_AT_ONCE)
    own = _attached(config, store, reach, level, hashing)
    named = Repositories(store, read, tags, reach, own.events)
    proofs = PushProvenance(store, config.uploads_life)
    image_lists = ImageLists(store, compute)
    rights = own.rights or rights_of(
        config, named.was_private, image_lists.note_members, level or own.counts, hashing, within
    )
    cleaner = Cleaner(store, commits)
    view = _v2(config, store, read, tags, named, reach, heavy, compute)
    return RegistryServices(
        config=config,
        storage=store,
        images=read,
        uploads=Uploads(store, read, commits, heavy, proofs, max_bytes=max_bytes, compute=compute),
        listings=Listings(
            store, read, heavy, max_bytes=max_bytes, max_entries=config.limits.files_entries
        ),
        repositories=named,
        image_lists=image_lists,
        search=own.search(rights)
        or StoreSearch(
            RepositoryNameIndex(store, run_in_thread, read_only=config.read_only), tags, rights
        ),
        services=tuple(filter(None, (level, StoreCheck(store), own.service))),
        compute=compute,
        chores=(*_chores(config, store, cleaner), *own.chores),
        index=own.index,
        prepare=own.prepare,
        cleaner=cleaner,
        reach=reach,
        door=Authorizer(
            rights,
            ImageRights(rights, reach, proofs),
            named.is_private,
            user_header=config.accounts.user_header,
            groups_header=config.accounts.groups_header,
        ),
        facts=(
            ReferenceBackfill(store, tags, reach, image_lists),
            LayerMetadataBackfill(store, read, tags, view.blobs, view.images),
        ),
        v2=view,
        shared_cache=level,
    )


def _attached(
    config: Config,
    store: Storage,
    reach: RepositoryReferences,
    level: SharedCache | None,
    hashing: Callable[..., Any],
) -> AttachedIndex:
    """What a database adds to a registry, if there is one."""
    if config.database is None:
        return AttachedIndex()
    from v1registry.wiring import index as ownindex  # SQLAlchemy is large

    return ownindex.attached(config, store, reach, level, run_in_thread, hashing, within)


def _index_alone(config: Config) -> IndexAppServices:
    from v1registry.wiring import index as ownindex

    return ownindex.alone(config, run_in_thread, limited(run_in_thread, _HASHES_AT_ONCE), within)


def _v2(
    config: Config,
    store: Storage,
    images: Images,
    tags: Tags,
    named: Repositories,
    reach: RepositoryReferences,
    heavy: Callable[..., Any],
    compute: Callable[..., Any],
) -> V2Services:
    """The v2 view of the store. Each of its three caches takes a quarter of what v1's may take."""
    limits: dict[str, Any] = {
        "cache_limit": config.cache_memory // 4,
        "cache_life": config.cache_life,
    }
    digests = Digests(store, **limits, read_only=config.read_only)
    max_bytes = config.limits.files_bytes
    blobs = LayerMetadataStore(
        store, images, digests, heavy, max_bytes=max_bytes, read_only=config.read_only, **limits
    )
    shown = V2Images(images, blobs, digests, **limits, compute=compute)
    lookup = Lookup(named, reach, images, blobs, shown, digests)
    reads = config.v2.enabled and not config.read_only
    pushed = ScanQueue(config.v2.read_pushed) if reads and config.v2.read_pushed else None
    bearer = Bearer(store, read_only=config.read_only, skew=config.clock_skew)
    unpack = limited(run_in_thread, _UNPACKED_AT_ONCE)
    return V2Services(
        blobs, shown, lookup, RepositoryCatalog(store, run_in_thread), tags, bearer, pushed, unpack
    )


def _chores(config: Config, store: Storage, cleaner: Cleaner) -> tuple[PeriodicTask, ...]:
    """What a process that may write does for the store."""
    interval = config.clean_interval

    def clean() -> str | None:
        if not lease.take(store, "clean", 0.9 * interval):
            return None  # another process did it
        report = run_in_thread(cleaner.clean, time.time() - config.uploads_life)
        return str(report) if report.any() else None

    if not interval or config.read_only:
        return ()
    return (PeriodicTask("Cleaned up", interval, clean),)


def _shared(config: Config, store: Storage) -> tuple[SharedImages | None, SharedCache | None]:
    """The cache that nodes share, and what it lies in; nothing connects yet."""
    if config.redis is None:
        return None, None
    from v1registry.cache.redis import RedisCache  # an optional extra

    secret = sharedimages.secret_of(store, place(config.storage), read_only=config.read_only)
    prefix = config.cache_prefix or f"v1registry:{sharedimages.name_of(secret)}:"
    level = RedisCache(
        config.redis,
        prefix,
        life=config.cache_shared_life,
        limit=config.cache_shared_limit,
        within=within,
    )
    return SharedImages(level, secret), level


def limited(run: Callable[..., Any], at_once: int) -> Callable[..., Any]:
    """`run`, for at most so many calls at the same time; others wait."""
    slots = threading.BoundedSemaphore(at_once)

    @functools.wraps(run)
    def limited_run(*args: Any) -> Any:
        with slots:
            return run(*args)

    return limited_run
