"""What an hour's own records say: rounds against bookings, orders against payments, events against the log."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit import service as audit
from pitboss.audit.contracts import EventFilter, RecordedEvent
from pitboss.captures import service as captures
from pitboss.games import service as games
from pitboss.games.contracts import CountedRound, RoundState
from pitboss.kernel.paging import MAX_PAGE_SIZE
from pitboss.kernel.scope import TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import BookingFaults, FaultSample, Op, RoundSpan
from pitboss.quality import rules
from pitboss.quality.contracts import HOUR, MAX_FAULTS, Area, Dimension, Fault, FindingKind, Reading
from pitboss.wallet.service import MANUAL_SOURCE

GAME_OPS: Final = frozenset({Op.BET, Op.WIN, Op.BET_ROLLBACK, Op.WIN_ROLLBACK})
PAYMENT_OPS: Final = frozenset({Op.DEPOSIT, Op.ADJUSTMENT, Op.HOLD, Op.CAPTURE, Op.VOID})
ROUNDS_AT_ONCE: Final = 5_000
_ORDERED_BEFORE: Final = timedelta(days=1)
"""How long before a deposit its order may stand in the log."""
_FOUND_WITHIN: Final = timedelta(days=2)
"""How long after a change a finding of it is looked for."""


async def read_hour(session: AsyncSession, scope: TenantScope, hour: datetime, now: datetime) -> list[Reading]:
    """Return what is counted of an hour in every area and dimension; the session sees one moment (`Database.snapshot`)."""
    return [
        *await _read_rounds(session, scope, hour, now),
        *await _read_payments(session, scope, hour, now),
        *await _read_audit(session, scope, hour, now),
    ]


async def _read_rounds(session: AsyncSession, scope: TenantScope, hour: datetime, now: datetime) -> list[Reading]:
    whole = Reading(Area.ROUNDS, Dimension.COMPLETENESS)
    same = Reading(Area.ROUNDS, Dimension.CONSISTENCY)
    last: CountedRound | None = None
    while True:
        found = await games.fetch_counted_rounds(session, scope, hour, hour + HOUR, last, ROUNDS_AT_ONCE)
        if not found:
            break
        last = found[-1]
        spans = [RoundSpan(each.round_id, each.wallet_id, each.first_version, each.last_version) for each in found]
        for each, sums in zip(found, await ledger.sum_rounds(session, scope, spans), strict=True):
            if each.state == RoundState.OPEN and now - each.updated_at > rules.ROUND_BOUND:
                detail = f"since {each.updated_at:%Y-%m-%d %H:%M} UTC"
                _note(whole, Fault(FindingKind.ROUND_OPEN, each.reference, each.reference, detail))
            told = (each.bet_real, each.bet_bonus, each.win_minor)
            booked = (sums.bet_real, sums.bet_bonus, sums.win_minor)
            if told != booked:
                detail = f"the round says {told}, its bookings {booked} in minor units"
                _note(same, Fault(FindingKind.SUMS_DIFFER, each.reference, each.reference, detail))
        whole.found += len(found)
        same.found += len(found)
    faults = await ledger.find_booking_faults(session, scope, GAME_OPS, hour, hour + HOUR)
    once = _read_bookings(faults, Area.ROUNDS, same)
    # What tells how soon a booking came is the aggregator's own time: `keep_hour` adds it.
    return [whole, once, same, Reading(Area.ROUNDS, Dimension.TIMELINESS, is_known=False)]


def _read_bookings(faults: BookingFaults, area: Area, same: Reading) -> Reading:
    """Add what bookings lack to a reading of consistency, and return the one of uniqueness."""
    same.found += faults.bookings
    _note_sample(same, FindingKind.KEY_MISSING, faults.unkeyed)
    _note_sample(same, FindingKind.CHAIN_BROKEN, faults.unchained)
    once = Reading(area, Dimension.UNIQUENESS, found=faults.bookings)
    _note_sample(once, FindingKind.BOOKED_TWICE, faults.twice)
    return once


async def _read_payments(session: AsyncSession, scope: TenantScope, hour: datetime, now: datetime) -> list[Reading]:
    end = hour + HOUR
    orders = {_reference_of(each): each for each in await _list_orders(session, scope, hour, end)}
    effects = await ledger.find_effects(session, scope, MANUAL_SOURCE, orders)
    whole = Reading(Area.PAYMENTS, Dimension.COMPLETENESS, found=len(orders))
    soon = Reading(Area.PAYMENTS, Dimension.TIMELINESS)
    for reference, order in orders.items():
        effect = effects.get(reference)
        if effect is None and now - order.occurred_at > rules.ORDER_BOUND:
            _note(whole, Fault(FindingKind.ORDER_NOT_BOOKED, reference))
        if effect is not None and effect.booked_at is not None and effect.booked_at >= order.occurred_at:
            soon.found += 1
            soon.wrong += effect.booked_at - order.occurred_at > rules.ORDER_BOUND
    if now - rules.HOLD_BOUND >= end:
        for place in await ledger.find_unended_holds(session, scope, hour, end):
            whole.found += 1
            _note(whole, Fault(FindingKind.HOLD_NOT_ENDED, place))
    same = Reading(Area.PAYMENTS, Dimension.CONSISTENCY)
    known = {*orders, *map(_reference_of, await _list_orders(session, scope, hour - _ORDERED_BEFORE, hour))}
    others = await ledger.find_other_bookings(session, scope, MANUAL_SOURCE, {Op.DEPOSIT}, hour, end, known)
    for other in others:
        _note(same, Fault(FindingKind.NOT_ORDERED, other.reference))
    faults = await ledger.find_booking_faults(session, scope, PAYMENT_OPS, hour, end)
    once = _read_bookings(faults, Area.PAYMENTS, same)
    return [whole, once, same, soon]


async def _list_orders(
    session: AsyncSession, scope: TenantScope, since: datetime, until: datetime
) -> list[RecordedEvent]:
    """Return the orders of deposits by hand of a span, the oldest last: it is the first word that counts."""
    return await _list_all(session, scope, EventFilter("player.credit_ordered", since=since, until=until))


def _reference_of(event: RecordedEvent) -> str:
    return next((str(change.after) for change in event.changes if change.path == "reference"), "")


async def _list_all(session: AsyncSession, scope: TenantScope, wanted: EventFilter) -> list[RecordedEvent]:
    found: list[RecordedEvent] = []
    cursor: str | None = None
    while True:
        page = await audit.list_events(session, scope, wanted, cursor=cursor, page_size=MAX_PAGE_SIZE)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


async def _read_audit(session: AsyncSession, scope: TenantScope, hour: datetime, now: datetime) -> list[Reading]:
    end = hour + HOUR
    facts = await audit.find_log_facts(session, scope, hour, end, rules.CHECKPOINT_BOUND)
    whole = Reading(Area.AUDIT, Dimension.COMPLETENESS, found=facts.events)
    once = Reading(Area.AUDIT, Dimension.UNIQUENESS, found=facts.entries)
    # The newest event of a closed hour is older than both bounds only some minutes after its end.
    whole.is_known = now - rules.LOG_BOUND >= end
    if whole.is_known:
        _note_sample(whole, FindingKind.NOT_LOGGED, FaultSample(facts.missing, facts.unlogged))
        if lacking := facts.places - facts.entries:
            _note(whole, Fault(FindingKind.PLACES_MISSING, f"{hour:%Y-%m-%dT%H}", detail=f"{lacking} places"), lacking)
    if twice := facts.entries - facts.told:
        _note(once, Fault(FindingKind.PLACED_TWICE, f"{hour:%Y-%m-%dT%H}", detail=f"{twice} entries"), twice)
    same = Reading(Area.AUDIT, Dimension.CONSISTENCY, found=facts.telling)
    reconciled = await captures.fetch_state(session, scope)
    same.is_known = reconciled is not None and reconciled.at >= end
    for event in await _list_unmatched(session, scope, hour, end):
        _note(same, Fault(FindingKind.NOT_MATCHED, event.target_id, detail=event.type))
    soon = Reading(Area.AUDIT, Dimension.TIMELINESS, found=facts.events, wrong=facts.late)
    soon.is_known = now - rules.CHECKPOINT_BOUND >= end
    return [whole, once, same, soon]


async def _list_unmatched(
    session: AsyncSession, scope: TenantScope, since: datetime, until: datetime
) -> list[RecordedEvent]:
    """Return what reconciling events and changes of a span has found, and nobody has taken as looked into since."""
    found: list[RecordedEvent] = []
    for name in ("capture.unexplained", "capture.unfounded"):
        found += await _list_all(session, scope, EventFilter(name, since=since, until=until + _FOUND_WITHIN))
    if not found:
        return []
    accepted = await audit.list_events(
        session, scope, EventFilter("capture.findings_accepted", since=since), page_size=1
    )
    looked_into = accepted.items[0].occurred_at if accepted.items else since
    return [each for each in found if each.occurred_at >= looked_into and since <= _moment_of(each) < until]


def _moment_of(event: RecordedEvent) -> datetime:
    told = next((str(change.after) for change in event.changes if change.path == "at"), "")
    return datetime.fromisoformat(told) if told else event.occurred_at


def _note(reading: Reading, fault: Fault, count: int = 1) -> None:
    reading.wrong += count
    if len(reading.faults) < MAX_FAULTS:
        reading.faults.append(fault)
    else:
        reading.is_whole = False


def _note_sample(reading: Reading, kind: FindingKind, sample: FaultSample) -> None:
    names = dict.fromkeys(sample.references)
    for reference in names:
        _note(reading, Fault(kind, reference), 0)
    reading.wrong += sample.count
    reading.is_whole = reading.is_whole and len(sample.references) == sample.count
