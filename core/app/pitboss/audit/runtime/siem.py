"""Sends the events of logs to their tenants' destinations: each at its own pace, at least once, in the log's order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import structlog

from pitboss.audit.rules.ocsf import compose_ocsf
from pitboss.audit.store import exports, proofs
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import MAX_CONTEXT_TENANTS, Database
from pitboss.platform.event_senders import SEND_SECONDS, OutgoingEvent, SendFailed, Target, send_events
from pitboss.platform.secrets import SecretStore
from pitboss.platform.telemetry import Metrics
from pitboss_sdk.errors import PitbossError

BATCH_EVENTS: Final = 500
LEASE_SECONDS: Final = 3 * SEND_SECONDS
MAX_BACKOFF_SECONDS: Final = 300

_log = structlog.get_logger(__name__)


class Exporter:
    """The deliveries of one process. Each destination has a task of its own: one that never answers costs the others nothing.

    No connection of the database is held while something is sent; a lease keeps other processes away. The place is
    moved on after a destination has taken a batch, so a kill at any moment makes a batch come again, never be left out.
    """

    def __init__(
        self,
        database: Database,
        secrets: SecretStore,
        list_scopes: Callable[[], Sequence[TenantScope]],
        metrics: Metrics,
        *,
        batch_events: int = BATCH_EVENTS,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._list_scopes = list_scopes
        self._metrics = metrics
        self._batch_events = batch_events
        self._lease_seconds = lease_seconds
        self._running: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._told: set[tuple[str, str]] = set()

    async def step(self) -> None:
        """Begin to send to every destination that lacks something, and tell how far behind each is."""
        told: set[tuple[str, str]] = set()
        scopes = list(self._list_scopes())
        for start in range(0, len(scopes), MAX_CONTEXT_TENANTS):
            by_id = {scope.tenant_id: scope for scope in scopes[start : start + MAX_CONTEXT_TENANTS]}
            async with self._database.tenants_transaction(by_id) as session:
                due, waits = await exports.list_due(session), await exports.list_waits(session)
            for tenant_id, name, seconds in waits:
                place = (by_id[tenant_id].slug, name)
                self._metrics.siem_lag_seconds.labels(*place).set(max(seconds, 0.0))
                told.add(place)
            for tenant_id, name in due:
                if (tenant_id, name) not in self._running:
                    self._begin(by_id[tenant_id], name)
        for gone in self._told - told:
            self._metrics.siem_lag_seconds.remove(*gone)
        self._told = told

    async def close(self) -> None:
        """End what is being sent; it comes again when the lease is over."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def wait_idle(self) -> None:
        """Wait until nothing is being sent."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _begin(self, scope: TenantScope, name: str) -> None:
        key = (scope.tenant_id, name)
        task = asyncio.create_task(self._deliver(scope, name))
        self._running[key] = task
        task.add_done_callback(lambda _task: self._running.pop(key, None))

    async def _deliver(self, scope: TenantScope, name: str) -> None:
        try:
            while await self._deliver_batch(scope, name):
                pass
        except Exception as error:  # noqa: BLE001 - one destination's trouble is nobody else's
            _log.warning("audit.export_failed", tenant=scope.slug, exc_info=error)

    async def _deliver_batch(self, scope: TenantScope, name: str) -> bool:
        """Send what comes next; return whether there may be more."""
        async with self._database.transaction(scope) as session:
            lease = await exports.lease_delivery(session, scope, name, self._lease_seconds)
            row = None if lease is None else await exports.fetch_destination(session, scope, name)
            if lease is None or row is None:
                return False
            end = min(lease.next_seq + self._batch_events, lease.size)
            bodies = [body async for _, body in proofs.read_bodies(session, scope, lease.next_seq, end)]
            target = Target(row.kind, row.address, row.authorities, row.secret)
        problem = await self._send(target, [compose_outgoing(body) for body in bodies])
        async with self._database.transaction(scope) as session:
            if not problem:
                return await exports.advance_delivery(session, scope, lease, lease.next_seq + len(bodies))
            seconds = compute_backoff_seconds(lease.attempts)
            await exports.postpone_delivery(session, scope, lease, seconds, problem)
        _log.warning("audit.destination_failed", tenant=scope.slug, retry_in_seconds=seconds)
        return False

    async def _send(self, target: Target, events: Sequence[OutgoingEvent]) -> str:
        """Return why the destination did not take the events, empty where it did."""
        try:
            if target.secret:
                secret = self._secrets.resolve([target.secret])[target.secret]
                target = msgspec.structs.replace(target, secret=secret)
            await send_events(target, events)
        except SendFailed as failed:
            return str(failed)
        except PitbossError as error:
            return error.code
        return ""


def compose_outgoing(body: bytes) -> OutgoingEvent:
    """Return an entry as it leaves; ASCII alone, so that syslog needs no mark of its encoding."""
    event: dict[str, Any] = compose_ocsf(body)
    metadata = event["metadata"]
    return OutgoingEvent(
        json.dumps(event, separators=(",", ":"), ensure_ascii=True).encode(),
        metadata["original_time"],
        metadata["event_code"],
        event["severity_id"],
        metadata["log_name"].split("/")[1],
        metadata["tenant_uid"],
    )


def compute_backoff_seconds(attempts: int) -> int:
    """Return how long a destination rests after it has failed for the `attempts`-th time in a row: 1, 2, 4 … 300."""
    return min(2 ** min(attempts, 16), MAX_BACKOFF_SECONDS)
