"""Use cases of captured changes: hold them against the audit log, and keep what that finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import AuditEvent, Change, ToldEvent
from pitboss.audit.service import list_written, record_event
from pitboss.captures import store
from pitboss.captures.contracts import Capture, Finding, Outcome, Reconciliation, Transaction
from pitboss.captures.rules import compare
from pitboss.captures.store import fetch_state
from pitboss.kernel.scope import Actor, Origin, TenantScope

__all__ = ["accept_findings", "fetch_state", "keep", "reconcile"]

FIRST: Final = 1
"""The first transaction of a server; zero is that of events that came from another one with their tenant."""
_ROWS: Final = 5_000
_TOLD_FINDINGS: Final = 100
"""Findings of one run that get an event of their own; the rest are counted in one more."""
_TYPES: Final = {"unexplained": "capture.unexplained", "unfounded": "capture.unfounded"}


async def reconcile(
    session: AsyncSession,
    scope: TenantScope | None,
    first: int = FIRST,
    *,
    look: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Hold changes and events of the transactions from `first` on that have ended against each other.

    Of a tenant, or of the control plane without a scope. `look` is told in between how far it came.
    """
    tenant_id = None if scope is None else scope.tenant_id
    horizon = await store.read_horizon(session)
    outcome = Outcome(before=horizon)
    rows = _ROWS
    while first < horizon:
        captures = await store.fetch_captures(session, scope, first, horizon, rows)
        events = await list_written(session, tenant_id, first, horizon, rows)
        # What may be cut off in the middle of a transaction is left to the next round.
        ends = [found[-1].written_in for found in (captures, events) if len(found) == rows]
        end = min(ends, default=horizon)
        if end == first:
            rows *= 2
            continue
        for transaction in _gather(captures, events, end):
            outcome.transactions += 1
            outcome.captures += len(transaction.captures)
            outcome.events += len(transaction.events)
            outcome.findings += compare(transaction)
        first, rows = end, _ROWS
        look(outcome)
    return outcome


def _gather(captures: Sequence[Capture], events: Sequence[ToldEvent], end: int) -> Iterator[Transaction]:
    found: dict[int, Transaction] = {}
    for capture in captures:
        found.setdefault(capture.written_in, Transaction(capture.written_in, capture.captured_at, [], []))
        found[capture.written_in].captures.append(capture)
    for event in events:
        found.setdefault(event.written_in, Transaction(event.written_in, event.occurred_at, [], []))
        found[event.written_in].events.append(event)
    yield from (found[number] for number in sorted(found) if number < end)


async def keep(session: AsyncSession, scope: TenantScope, actor: Actor) -> Reconciliation:
    """Reconcile what is new of a tenant, record each finding as an incident, and keep how far it came.

    Numbers of transactions that went back, as on a server that a dump was loaded on, let it begin again.
    """
    state = await store.fetch_state(session, scope, lock=True)
    first = FIRST if state is None or state.before > await store.read_horizon(session) else state.before
    outcome = await reconcile(session, scope, first)
    for finding in outcome.findings[:_TOLD_FINDINGS]:
        await record_event(session, scope, _incident(finding, actor))
    more = len(outcome.findings) - _TOLD_FINDINGS
    if more > 0:
        changes = (Change("more", None, more),)
        event = AuditEvent("capture.unexplained", actor, Origin(), "capture", "more", changes, "error")
        await record_event(session, scope, event)
    known = 0 if state is None or first == FIRST else state.findings
    await store.write_state(session, scope, outcome.before, known + len(outcome.findings))
    kept = await store.fetch_state(session, scope)
    assert kept is not None  # noqa: S101 - written in this transaction
    return kept


def _incident(finding: Finding, actor: Actor) -> AuditEvent:
    changes = (
        Change("transaction", None, finding.transaction),
        Change("at", None, finding.at.isoformat()),
        Change("detail", None, finding.detail),
    )
    return AuditEvent(_TYPES[finding.kind], actor, Origin(), "capture", finding.subject, changes, "error")


async def accept_findings(session: AsyncSession, scope: TenantScope, reason: str, actor: Actor, origin: Origin) -> int:
    """Take a tenant's findings as looked into, so that their alarm ends; return how many. `reason` is a code."""
    findings = await store.clear_findings(session, scope)
    if findings:
        changes = (Change("findings", findings, 0),)
        event = AuditEvent("capture.findings_accepted", actor, origin, "capture", scope.slug, changes, reason=reason)
        await record_event(session, scope, event)
    return findings
