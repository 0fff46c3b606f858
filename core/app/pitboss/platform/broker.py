"""The broker that carries jobs from the relay to the workers: a transport, the outbox is the truth."""

from __future__ import annotations

from typing import Final

from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware

QUEUE: Final = "jobs"
ACTOR: Final = "run_job"
HEARTBEAT_TIMEOUT_MS: Final = 5_000
"""After this silence a worker counts as dead and what it held goes to the others."""
MAINTENANCE_CHANCE: Final = 1_000_000
"""Out of a million: every command also looks for dead workers, which are otherwise found by luck."""


def create_broker(url: str, cell: str, middleware: list[Middleware] | None = None) -> RedisBroker:
    """Return the broker of `cell`; its keys begin with the cell's name.

    No middleware of the library is added: retries, time limits and results are the outbox's business.
    """
    return RedisBroker(
        url=url,
        middleware=middleware or [],
        namespace=f"{cell}:jobs",
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=MAINTENANCE_CHANCE,
    )


def send_job(broker: RedisBroker, tenant_id: int, job_id: int) -> None:
    """Hand one leased job to the broker; it blocks for as long as Redis takes.

    The message names the job and nothing else: what is to be done is read from the outbox, under the tenant's
    own context, so that a message made up in Redis can start nothing that was not asked for.
    """
    broker.declare_queue(QUEUE)
    message: Message[None] = Message(
        queue_name=QUEUE, actor_name=ACTOR, args=(tenant_id, job_id), kwargs={}, options={}
    )
    broker.enqueue(message)  # pyright: ignore[reportUnknownMemberType] - the library leaves its messages' type open
