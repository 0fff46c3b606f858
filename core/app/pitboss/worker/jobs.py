"""The registry of jobs: name, handler, the permission it needs and, for periodic ones, how often."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import Actor, ActorKind, TenantScope
from pitboss.permissions.service import get_permission
from pitboss_sdk.errors import ErrorKind, PitbossError

Handler = Callable[[AsyncSession, TenantScope, Mapping[str, Any]], Awaitable[object]]
"""Runs in a transaction of the tenant and never ends it; what it writes and that it is done commit together."""

DEFAULT_TIMEOUT_SECONDS: Final = 15
"""Below the lease of the outbox, so that a job is rarely sent again while it runs."""


class UnknownJob(PitbossError):
    """The outbox holds a job that this worker has no handler for."""

    code = "worker.unknown_job"
    kind = ErrorKind.BUG


class Job(msgspec.Struct, frozen=True):
    """One kind of job; `every_seconds` makes it periodic for each tenant."""

    name: str
    handler: Handler
    permission: str
    every_seconds: int | None = None
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS


class Period(msgspec.Struct, frozen=True):
    """What the relay needs to know of a periodic job: no handler, since it runs none."""

    name: str
    every_seconds: int


class JobRegistry:
    """All jobs of a process by name; a duplicate or an unregistered permission is refused."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs: dict[str, Job] = {}
        for job in jobs:
            get_permission(job.permission)
            if job.name in self._jobs:
                raise ValueError(f"job {job.name} is registered twice")
            self._jobs[job.name] = job

    def get(self, name: str) -> Job:
        """Return the job of `name`; raise `UnknownJob`."""
        try:
            return self._jobs[name]
        except KeyError:
            raise UnknownJob(f"no handler for job {name!r}") from None

    def list_names(self) -> list[str]:
        """Return the names of all jobs."""
        return sorted(self._jobs)

    def list_periods(self) -> list[Period]:
        """Return the periodic jobs."""
        return [Period(job.name, job.every_seconds) for job in self._jobs.values() if job.every_seconds is not None]


def job_actor(name: str) -> Actor:
    """Return the actor as which the job `name` acts."""
    return Actor(ActorKind.SERVICE, name)


def without_payload(use_case: Callable[[AsyncSession, TenantScope], Awaitable[object]]) -> Handler:
    """Return a handler for a use case that needs no payload."""

    async def handle(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        await use_case(session, scope)

    return handle
