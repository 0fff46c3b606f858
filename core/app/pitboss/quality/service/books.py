"""Aggregators' own books: asked for, held against the journal, and asked for again where they differ."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.games import service as games
from pitboss.kernel.clock import from_microseconds, to_microseconds
from pitboss.kernel.scope import Actor, TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Effect, Op, Outcome
from pitboss.plughost.contracts import TransactionCalls
from pitboss.quality import rules, store
from pitboss.quality.contracts import (
    HOUR,
    HOURS_BACK,
    MAX_FAULTS,
    Area,
    Comparison,
    ComparisonState,
    Fault,
    Finding,
    FindingKind,
)
from pitboss.quality.rules import list_hours
from pitboss.quality.service.findings import close_all, open_one
from pitboss_sdk.games import ListedTransaction, TransactionsRequest
from pitboss_sdk.outcome import Done, Refused

ASKED_AT_ONCE: Final = 10
"""Findings that one run asks an aggregator for again."""
_REFERENCES_AT_ONCE: Final = 5_000
_OPEN_AT_ONCE: Final = 500


class AskedSlice(msgspec.Struct, frozen=True):
    """What an aggregator listed of a span, and of a little more on both sides."""

    since: datetime
    until: datetime
    listed: tuple[ListedTransaction, ...]


class AskedHour(msgspec.Struct, frozen=True):
    """What an aggregator answered about an hour: slices of it, or why there are none."""

    slices: tuple[AskedSlice, ...] = ()
    problem: str = ""
    is_offered: bool = True


async def list_due_hours(session: AsyncSession, scope: TenantScope, plugin: str, now: datetime) -> list[datetime]:
    """Return closed hours that an aggregator is to be asked about now, the oldest first."""
    hours = list_hours(now, HOURS_BACK, settle=rules.MARGIN * 2)
    comparisons = await store.fetch_comparisons(session, scope, hours[-1], hours[0] + HOUR, plugin)
    known = {each.hour: each for each in comparisons}
    due = [
        hour
        for hour in hours
        if (found := known.get(hour)) is None or (found.state is ComparisonState.WAITING and found.next_at <= now)
    ]
    return sorted(due)


async def ask_hour(calls: TransactionCalls, hour: datetime) -> AskedHour:
    """Ask an aggregator for its books of an hour, slice by slice."""
    slices: list[AskedSlice] = []
    since = hour
    while since < hour + HOUR:
        until = since + rules.SLICE
        first, last = to_microseconds(since - rules.MARGIN), to_microseconds(until + rules.MARGIN)
        outcome = await calls.list_transactions(TransactionsRequest(first, last))
        if not isinstance(outcome, Done):
            offered = not (isinstance(outcome, Refused) and outcome.code == "not_offered")
            return AskedHour((), f"{type(outcome).__name__.lower()} {getattr(outcome, 'reason', '')}".strip(), offered)
        slices.append(AskedSlice(since, until, outcome.value))
        since = until
    return AskedHour(tuple(slices))


async def keep_asked_hour(
    session: AsyncSession,
    scope: TenantScope,
    plugin: str,
    hour: datetime,
    asked: AskedHour,
    now: datetime,
    actor: Actor,
) -> Comparison:
    """Hold an aggregator's answer against the journal, and keep what that finds. No money is posted by it."""
    before = await store.fetch_comparisons(session, scope, hour, hour + HOUR, plugin)
    attempts = before[0].attempts if before else 0
    if asked.problem:
        state = ComparisonState.NOT_OFFERED
        if asked.is_offered:
            state = ComparisonState.WAITING if attempts + 1 < rules.MAX_ATTEMPTS else ComparisonState.GIVEN_UP
        next_at = now + rules.compute_pause(attempts)
        comparison = Comparison(hour, plugin, state, 0, 0, 0, attempts + 1, next_at, asked.problem[:200])
        await store.write_comparison(session, scope, comparison)
        return comparison
    listed = matched = late = 0
    faults: dict[tuple[FindingKind, str], Fault] = {}
    for each in asked.slices:
        inside = [one for one in each.listed if each.since <= from_microseconds(one.happened_at_us) < each.until]
        effects = await _find_effects(session, scope, plugin, {one.reference for one in inside})
        compared = rules.compare_lists(inside, effects)
        found = [*compared.faults, *await _find_missing_there(session, scope, plugin, each)]
        faults |= {(fault.kind, fault.reference): fault for fault in found}
        listed, matched, late = listed + len(inside), matched + compared.matched, late + compared.late
    comparison = Comparison(hour, plugin, ComparisonState.COMPARED, listed, matched, late, attempts + 1, now, "")
    await store.write_comparison(session, scope, comparison)
    known = await store.fetch_findings(session, scope, hour, plugin)
    is_open = {(each.kind, each.reference): each for each in known if each.is_open}
    for name, fault in list(faults.items())[:MAX_FAULTS]:
        if name not in is_open:
            place = (Area.ROUNDS, rules.FROM_BOOKS[fault.kind])
            next_at = now + rules.compute_pause(0) if fault.round else None
            await open_one(session, scope, hour, place, plugin, fault, next_at, actor)
    await close_all(session, scope, [each for name, each in is_open.items() if name not in faults], actor)
    return comparison


async def _find_effects(
    session: AsyncSession, scope: TenantScope, plugin: str, references: Collection[str]
) -> dict[str, Effect]:
    names, found = list(references), dict[str, Effect]()
    for start in range(0, len(names), _REFERENCES_AT_ONCE):
        some = names[start : start + _REFERENCES_AT_ONCE]
        found |= await ledger.find_effects(session, scope, f"games.{plugin}", some)
    return found


async def _find_missing_there(session: AsyncSession, scope: TenantScope, plugin: str, asked: AskedSlice) -> list[Fault]:
    known = {one.reference for one in asked.listed}
    others = await ledger.find_other_bookings(
        session, scope, f"games.{plugin}", {Op.BET, Op.WIN}, asked.since, asked.until, known
    )
    rounds = await games.find_round_names(session, scope, {each.round_id for each in others if each.round_id})
    return rules.find_missing_there(others, {str(number): name for number, name in rounds.items()})


async def list_due_findings(session: AsyncSession, scope: TenantScope, plugin: str, now: datetime) -> list[Finding]:
    """Return gaps of which an aggregator is to be asked again now."""
    return await store.fetch_due_findings(session, scope, plugin, now, ASKED_AT_ONCE)


async def ask_round(calls: TransactionCalls, finding: Finding) -> tuple[ListedTransaction, ...] | None:
    """Ask an aggregator again for the round of a gap; None where it did not answer."""
    outcome = await calls.list_transactions(TransactionsRequest(round=finding.round))
    return outcome.value if isinstance(outcome, Done) else None


async def keep_asked_round(
    session: AsyncSession,
    scope: TenantScope,
    finding: Finding,
    listed: tuple[ListedTransaction, ...] | None,
    now: datetime,
    actor: Actor,
) -> bool:
    """Close a gap that is none any more, or note when to ask again; return whether it was closed.

    After the last attempt it stays open for people: it says what the aggregator has to send again, or to explain.
    """
    if listed is not None and not await _still_differs(session, scope, finding, listed):
        await close_all(session, scope, [finding], actor)
        return True
    attempts = finding.attempts + 1
    next_at = now + rules.compute_pause(attempts) if attempts < rules.MAX_ATTEMPTS else None
    await store.postpone_finding(session, scope, finding.finding_id, attempts, next_at)
    return False


async def _still_differs(
    session: AsyncSession, scope: TenantScope, finding: Finding, listed: Sequence[ListedTransaction]
) -> bool:
    of_reference = [one for one in listed if one.reference == finding.reference]
    effects = await _find_effects(session, scope, finding.plugin, [finding.reference])
    if finding.kind is FindingKind.MISSING_THERE:
        effect = effects.get(finding.reference)
        return not of_reference and effect is not None and not effect.is_reversed
    faults = rules.compare_lists(of_reference, effects).faults
    return any(fault.kind is finding.kind for fault in faults)


async def close_mended(session: AsyncSession, scope: TenantScope, plugin: str, actor: Actor) -> list[datetime]:
    """Close gaps that the aggregator's own calls have mended since, and return the hours of these."""
    kinds = (FindingKind.MISSING_HERE, FindingKind.STANDS_HERE)
    found = await store.fetch_open_findings(session, scope, plugin, kinds, _OPEN_AT_ONCE)
    effects = await _find_effects(session, scope, plugin, {each.reference for each in found})
    mended = [each for each in found if _is_mended(each, effects.get(each.reference))]
    await close_all(session, scope, mended, actor)
    return sorted({each.hour for each in mended})


def _is_mended(finding: Finding, effect: Effect | None) -> bool:
    if effect is None:
        return False
    if finding.kind is FindingKind.STANDS_HERE:
        return effect.is_reversed
    return effect.outcome is Outcome.ACCEPTED or finding.detail == "rollback"
