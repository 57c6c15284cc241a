"""Immutable tags: tags that keep the first image that a client pushes to them (option `immutable_tags`).

Two pushes may create such a tag at the same time. Only one of them may succeed, so the tag is created
with `Storage.create`. A store that does not create atomically needs claims: each push first writes a
claim and then lists the claims, and goes on only if no other image has one. Of two pushes, at least
one sees the other's claim. The push with the smaller image id then waits, and the other one gives up.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping

from v1registry.lib import errors
from v1registry.lib.errors import Failure
from v1registry.lib.names import RepositoryName, glob
from v1registry.lib.repositories.tags import Tags, image_id_in
from v1registry.storage import Storage, get_or_none, keys
from v1registry.storage.errors import NotFound

_ROUNDS, _PAUSE = 40, 0.05  # how often, and after how many seconds, claims are listed again
_CLAIM_LIFE = 3600.0  # seconds after which a claim counts as left behind by a crash


class ImmutableTags:
    """Finds the rule of a tag, creates immutable tags, and refuses changes of them.

    A rule is a glob for repositories and a glob for their tags.
    """

    def __init__(self, storage: Storage, tags: Tags, rules: Iterable[tuple[str, str]] = ()) -> None:
        self._storage = storage
        self._tags = tags
        self._rules = [(f"{name}:{tag}", glob(name), glob(tag)) for name, tag in rules]

    def rule(self, repository: RepositoryName, tag: str) -> str | None:
        """Return the first rule that makes the tag immutable, as `GLOB:GLOB`; None without one."""
        for rule, repositories, tags in self._rules:
            if repositories.fullmatch(str(repository)) and tags.fullmatch(tag):
                return rule
        return None

    def create(self, repository: RepositoryName, tag: str, image_id: str) -> bool:
        """Create a tag that a rule makes immutable; return False if it has this image already.

        Raise Failure 409 if it has another image, or another push creates it just now.
        """
        if self._storage.creates_atomically:
            return self._create(repository, tag, image_id)
        folder = keys.tag_claims(str(repository), tag)
        claim = f"{folder}/{image_id}-{secrets.token_hex(8)}"
        self._storage.put(claim, b"")
        try:
            for _ in range(_ROUNDS):
                others = self._claimed_by_others(folder, image_id)
                if not others:
                    return self._create(repository, tag, image_id)
                if min(others) < image_id:
                    break
                time.sleep(_PAUSE)
            raise self._refusal(repository, tag, errors.TAG_CLAIMED)
        finally:
            self._storage.delete(claim)

    def _create(self, repository: RepositoryName, tag: str, image_id: str) -> bool:
        current = self._tags.get(repository, tag)
        if current is None:
            key = f"{repository.folder}/{keys.tag(tag)}"
            data = get_or_none(self._storage, key)
            if data is not None and image_id_in(data) is None:
                self._storage.delete_if(key, data)  # an unreadable tag protects nothing
            if self._storage.create(key, image_id.encode("ascii")):
                return True
            current = self._tags.get(repository, tag)
        if current != image_id:
            raise self._refusal(repository, tag)
        return False

    def refuse_push(self, repository: RepositoryName, wanted: Mapping[str, set[str]]) -> None:
        """Raise Failure 409 if a push, with these images by tag, would change an immutable tag."""
        for tag, ids in wanted.items():
            if self.rule(repository, tag) is None:
                continue
            if len(ids) > 1:
                raise self._refusal(repository, tag, errors.IMMUTABLE_OLD_ENGINE)
            if self._tags.get(repository, tag) not in (None, *ids):
                raise self._refusal(repository, tag)

    def refuse_deletion(
        self, repository: RepositoryName, tags: Iterable[str] | None = None
    ) -> None:
        """Raise Failure 409 if one of the tags is immutable; None: any tag of the repository.

        A tag that is missing or unreadable is not protected.
        """
        if not any(pattern.fullmatch(str(repository)) for _, pattern, _ in self._rules):
            return
        if tags is None:
            # Of a repository with very many tags, only files of immutable tags are read.
            found = self._tags.names(
                repository, "", lambda tag: self.rule(repository, tag) is not None, 1
            )
        else:
            found = [
                tag
                for tag in tags
                if self.rule(repository, tag) and self._tags.get(repository, tag) is not None
            ]
        if found:
            raise self._refusal(repository, found[0])

    def _refusal(
        self, repository: RepositoryName, tag: str, text: errors.Text = errors.TAG_IMMUTABLE
    ) -> Failure:
        rule = self.rule(repository, tag)
        return Failure(text[0], text[1].format(tag=f"{repository}:{tag}", rule=rule))

    def _claimed_by_others(self, folder: str, image_id: str) -> list[str]:
        """Return the other images whose pushes have claims."""
        return [
            other
            for entry in list(self._storage.list(folder))
            if (other := entry.name.partition("-")[0]) != image_id
            and self._is_valid(f"{folder}/{entry.name}")
        ]

    def _is_valid(self, claim: str) -> bool:
        """Return whether the push of a claim may still run. Delete the claim of a crashed process."""
        try:
            if self._storage.stat(claim).modified > time.time() - _CLAIM_LIFE:
                return True
        except NotFound:
            return False
        self._storage.delete(claim)
        return False
