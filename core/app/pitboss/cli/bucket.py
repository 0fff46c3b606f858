"""A bucket with Object Lock as the stand-alone verifier reads it: versions, their locks, and their content."""

from __future__ import annotations

import asyncio

from pitboss.platform.settings import Settings
from pitboss.platform.worm import open_worm_store
from pitboss.platform.worm.port import WormStore
from pitboss_sdk.errors import PitbossError
from pitboss_verify.stores import Find, Version


class BucketStore:
    """What a write-once store tells of itself online."""

    locks = True

    def __init__(self, store: WormStore) -> None:
        self._store = store

    @classmethod
    def open(cls, place: str) -> BucketStore:
        """Return the store of `s3:<bucket>@<region>`."""
        return cls(open_worm_store(Settings(worm_store=place)))

    def list_versions(self, find: Find) -> list[Version]:  # noqa: ARG002 - a bucket has no journal of its own
        """Return every version with the lock that the service says it has; raise `OSError`."""
        try:
            found = asyncio.run(self._store.list_versions())
        except PitbossError as error:
            raise OSError(f"{error.code}: {error.detail}") from None
        return [
            Version(each.key, each.version, lock.mode.value if lock else None, lock.until if lock else None)
            for each in found
            for lock in (each.retention,)
        ]

    def read(self, version: Version) -> bytes:
        """Return the content of a version; raise `OSError`."""
        try:
            return asyncio.run(self._store.get(version.key, version.version))
        except PitbossError as error:
            raise OSError(f"{error.code}: {error.detail}") from None
