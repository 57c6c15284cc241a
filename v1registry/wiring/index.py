"""The services of an index of our own. Imported only if a database is configured."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from v1registry.api.authorize import Authorizer
from v1registry.api.services import IndexAppServices, IndexServices
from v1registry.auth.load import by_password, throttle_of
from v1registry.config import Config
from v1registry.index import leases
from v1registry.index.accounts import AccountStore
from v1registry.index.administration import Administration
from v1registry.index.checked_search import CheckedSearch
from v1registry.index.counts import DatabaseCounts
from v1registry.index.database import Database
from v1registry.index.imagelists import SqlImageLists
from v1registry.index.namespaces import Namespaces
from v1registry.index.people import AccountProver, IndexUsers
from v1registry.index.pulls import SqlPullCounter
from v1registry.index.repositories import RepositoryRecords
from v1registry.index.rights import OwnIndexRights
from v1registry.index.search import SqlSearch
from v1registry.index.signup import SignUp
from v1registry.index.social import Social
from v1registry.index.stored_repositories import Policy
from v1registry.index.sync import StoreView, Sync, SyncReport
from v1registry.index.tokenkeys import TokenKeys
from v1registry.lib import documents
from v1registry.lib.auth.rights import Caller
from v1registry.lib.errors import Failure
from v1registry.lib.names import ImageId, RepositoryName
from v1registry.lib.repositories import image_list, walk
from v1registry.lib.repositories.image_list import ImageLists
from v1registry.lib.repositories.references import RepositoryReferences
from v1registry.lib.repositories.repositories import is_private
from v1registry.lib.repositories.tags import Tags
from v1registry.lib.running import Run, Within, in_place
from v1registry.lib.support.counts import Counts
from v1registry.lib.support.periodic import PeriodicTask
from v1registry.storage import Storage, keys
from v1registry.wiring.attached import AttachedIndex
from v1registry.wiring.database import opened, prepare, unbounded
from v1registry.wiring.store import opened as opened_store
from v1registry.wiring.web import session_secret

FLUSH_INTERVAL = 10.0  # seconds between two writes of counted pulls, and between retries


class OwnIndex:
    """The services of an index, on one database.

    `hashing(function, *args)` computes password hashes, `compute` parses large lists. `is_taken` tells
    whether the store has a namespace. `counts` are shared by all nodes.
    """

    def __init__(
        self,
        config: Config,
        database: Database,
        hashing: Run,
        is_taken: Callable[[str], bool],
        counts: Counts | None = None,
        compute: Run = in_place,
    ) -> None:
        throttle = throttle_of(config, counts)
        self.database = database
        self.is_taken = is_taken
        self.accounts = AccountStore(database, hashing)
        self.sign_up = SignUp(database, hashing, config.index.sign_up, is_taken, throttle)
        self.namespaces = Namespaces(database)
        self.repositories = RepositoryRecords(database, private=config.index.private)
        self.keys = TokenKeys(database, skew=config.clock_skew)
        self.pulls = SqlPullCounter(database)
        self.lists = SqlImageLists(database, compute)
        #: seconds after which a token issued now has expired on every node
        self.longest_token = config.index.token_life + config.clock_skew
        self._config = config
        self._counts = counts

    def services(
        self, references: RepositoryReferences | None = None
    ) -> tuple[OwnIndexRights, IndexServices]:
        """Return the rights, and the services for the endpoints.

        `references` are those of the store; None for an index alone.
        """
        verifiers = [AccountProver(self.database, self.accounts)]
        by_name = by_password(self._config, verifiers, self._counts, OwnIndexRights.challenge)
        rights = OwnIndexRights(
            self.database, self.keys, by_name.identify, references, by_name.state
        )

        def may_read(image_id: ImageId, repository: RepositoryName, user: str | None) -> bool:
            if references is not None:
                own = references.contains(repository, image_id)
                return own or rights.index_allows(Caller(user), image_id)
            granted = self._config.index.lists_grant
            return granted and self.lists.may_read(image_id, repository, user)

        return rights, IndexServices(
            users=IndexUsers(self.accounts, self.sign_up),
            accounts=self.accounts,
            administration=Administration(self.database),
            sign_up=self.sign_up,
            namespaces=self.namespaces,
            catalog=self.repositories,
            opinions=Social(self.database),
            tokens=self.keys,
            pulls=self.pulls,
            may_read=may_read,
            token_life=self._config.index.token_life,
            longest_token=self.longest_token,
        )

    @property
    def periodic_task(self) -> PeriodicTask:
        return PeriodicTask("Counting pulls", FLUSH_INTERVAL, self.pulls.flush, at_end=True)


def sync_with(
    database: Database,
    storage: Storage,
    offload: Run,
    left_out: walk.LeftOut | None = None,
    policy: Policy | None = None,
) -> Sync:
    """Return the object that updates the database from a store.

    `left_out` is called with a repository, its tag or "", and the reason why it cannot be read.
    """
    tags = Tags(storage, offload)

    def all_tags(repository: RepositoryName) -> dict[str, str] | None:
        return tags.all(repository, left_out and partial(left_out, str(repository)))

    store = StoreView(
        all_tags,
        tags.get,
        partial(is_private, storage),
        partial(walk.repositories, storage, left_out),
        storage.require_marker,
    )
    return Sync(database, store, offload, policy)


def policy_of(config: Config) -> Policy:
    """Return the configured policy: how rows are created, and how many a walk may find missing."""
    return Policy(
        # in a registry that only notifies an index, the index decides what is public
        private=config.index.private or not config.is_index,
        is_index=config.writes_to_index,
        decides=config.is_index,
        grace=config.index.missing_grace,
        share=config.index.missing_share,
    )


def taken_in(storage: Storage) -> Callable[[str], bool]:
    """Return a function that tells whether a store has anything in a namespace."""

    def is_taken(name: str) -> bool:
        folder = f"{keys.REPOSITORIES}/{keys.encode(name)}"
        return any(True for _ in storage.list(folder))

    return is_taken


def rebuild(
    config: Config, left_out: walk.LeftOut, *, with_lists: bool, trust_missing: bool
) -> tuple[SyncReport, int]:
    """Compare the database with the whole store, and correct the database.

    Return the report and the number of copied image lists. See `sync_with` for `left_out`.
    """
    storage = opened_store(config, in_place)
    storage.prepare()
    with contextlib.closing(opened(config, in_place, unbounded)) as database:
        sync = sync_with(database, storage, in_place, left_out, policy_of(config))
        report = sync.rebuild(trust_missing=trust_missing)
        return report, _copy_lists(database, storage, left_out) if with_lists else 0


def _copy_lists(database: Database, storage: Storage, left_out: walk.LeftOut) -> int:
    stored, copied_lists = ImageLists(storage), SqlImageLists(database)
    copied = 0
    for repository in walk.repositories(storage):
        if stored.is_damaged(repository):
            left_out(str(repository), "", image_list.DAMAGED)
        with contextlib.suppress(Failure):  # it has no image list
            copied_lists.update(repository, documents.dump(stored.get(repository)))
            copied += 1
    return copied


def repairs(config: Config, database: Database, sync: Sync) -> tuple[PeriodicTask, ...]:
    """Return the periodic tasks that update the database from the store."""
    interval = config.index.repair_interval

    def walk() -> str | None:
        if not leases.take(database, "rebuild", max(1, int(0.9 * interval))):
            return None  # another process holds the lease
        report = sync.rebuild()
        return str(report) if report.changed or report.removed else None

    tasks = [PeriodicTask("Repairing the index", FLUSH_INTERVAL, sync.retry)]
    if interval:
        tasks.append(PeriodicTask("Comparing the index with the store", interval, walk, delay=3.0))
    return tuple(tasks)


def attached(
    config: Config,
    storage: Storage,
    references: RepositoryReferences,
    counts: Counts | None,
    offload: Run,
    hashing: Run,
    within: Within,
) -> AttachedIndex:
    """Return what the database adds to a registry: an index, or only a search."""
    database = opened(config, offload, within)
    sync = sync_with(database, storage, offload, policy=policy_of(config))
    counts = counts or DatabaseCounts(database)
    added = AttachedIndex(
        events=sync,
        search=partial(CheckedSearch, database),
        service=database,
        periodic_tasks=repairs(config, database, sync),
        counts=counts,
        prepare=partial(prepare, config, database),
    )
    if not config.is_index:
        return added
    own = OwnIndex(config, database, hashing, taken_in(storage), counts, offload)
    rights, services = own.services(references)
    return replace(
        added,
        rights=rights,
        index=services,
        search=lambda _: SqlSearch(database),
        periodic_tasks=(*added.periodic_tasks, own.periodic_task),
    )


def build_index(config: Config, offload: Run, hashing: Run, within: Within) -> IndexAppServices:
    """Return the services of an index without a registry."""
    database = opened(config, offload, within)
    counts = DatabaseCounts(database)
    own = OwnIndex(config, database, hashing, lambda _: False, counts, offload)
    rights, services = own.services()
    return IndexAppServices(
        config=config,
        authorizer=Authorizer(rights, None, lambda _: False),
        search=SqlSearch(database),
        image_lists=own.lists,
        services=(database,),
        compute=offload,
        periodic_tasks=(own.periodic_task,),
        index=services,
        prepare=partial(prepare, config, database),
        session_secret=session_secret(config, partial(own.keys.secret, "web sessions")),
    )
