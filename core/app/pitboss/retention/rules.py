"""Decisions of retention: which rows have a schedule, when their time is over, and what a plan says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import reduce
from hashlib import sha256
from typing import Final
from uuid import UUID

import msgspec

from pitboss.kernel.classes import Retention as Schedule
from pitboss.kernel.clock import to_microseconds
from pitboss.policy.contracts import EffectivePolicy, Retention
from pitboss.policy.rules import (
    add_months,
    compute_day_start,
    compute_kept_until,
    compute_local_day,
    get_kind,
)
from pitboss.retention.contracts import PLAN_LIFETIME, Hold, HoldScope, Keeping, KeptBecause, Run, ScheduleLine, Step
from pitboss.retention.errors import (
    HoldLifted,
    PlanDiffers,
    PlanNotApproved,
    PlanSettled,
    PlanStale,
    ReasonInvalid,
    SamePerson,
)
from pitboss_sdk.jurisdiction import RecordClass

RECORDS: Final[Mapping[Schedule, tuple[RecordClass, ...]]] = {
    "player_data": (RecordClass.PLAYER_DATA, RecordClass.AML_RECORDS),
    "kyc_documents": (RecordClass.KYC_DOCUMENTS, RecordClass.AML_RECORDS),
    "money_records": (RecordClass.MONEY_RECORDS, RecordClass.AML_RECORDS),
    "game_records": (RecordClass.GAME_RECORDS,),
    "exclusion_records": (RecordClass.EXCLUSION_RECORDS,),
    "audit_records": (RecordClass.AUDIT_RECORDS,),
    "communication": (RecordClass.COMMUNICATION,),
}
"""The classes of a pack that rows of a schedule belong to; the longest of their periods applies.

Who a player is and what moved their money serves the law against money laundering too, so its period counts there.
"""
IDENTITY_RECORDS: Final = (RecordClass.PLAYER_DATA, RecordClass.KYC_DOCUMENTS, RecordClass.AML_RECORDS)
"""Classes whose periods keep who a player is."""
IDENTITY_TABLES: Final = frozenset({"player_identity", "player_credential"})
"""Tables that say who a player is."""


class Life(msgspec.Struct, frozen=True):
    """The schedule of a table whose rows are destroyed, and from when their time counts."""

    schedule: Schedule
    begins: str


DESTROYED: Final[Mapping[str, Life]] = {
    "round": Life("game_records", "the last change of a round that is over"),
    "game_session": Life("game_records", "the end of the session"),
    "exclusion": Life("exclusion_records", "the end of the exclusion; one without an end stays"),
    "play_time_limit": Life("exclusion_records", "the closing of the account, or the last change after it"),
}
"""Tables that lose rows by schedule; `sql/destroy.sql` has the same ones and no other."""

_BOOKS: Final = (
    "balances are the sums of the journal from its first row on, and the proof of the books replays all of it"
)
_LOG: Final = "the tree is proved from its first entry; entries hold digests of addresses and no address"
_SEALED: Final = "the sealed log of bookings is proved from its first entry"
KEPT: Final[Mapping[str, str]] = {
    "wallet": _BOOKS,
    "journal": _BOOKS,
    "hold": _BOOKS,
    "award": _BOOKS,
    "award_entry": _BOOKS,
    "house_balance": _BOOKS,
    "batch": _BOOKS,
    "award_terms": "the proof of awards holds the ledger's awards against their terms",
    "call_key": "a call that comes again, however late, gets the answer that it got",
    "usage": "swept when its window is over",
    "player": "wallets and the log name it; it holds no personal value",
    "player_identity": "an erasure destroys it, together with the key that opens its copies",
    "player_credential": "an erasure destroys it",
    "subject_key": "an erasure destroys it, and leaves the mark that keeps it from coming back",
    "player_limit": "it goes with the mark on its wallet, which a booking sets",
    "game_version": "rounds name the version that they were played on",
    "directory_snapshot": "it names tenants and no person",
    "audit_event": _LOG,
    "audit_entry": _LOG,
    "audit_log": _LOG,
    "audit_tile": _LOG,
    "audit_checkpoint": _LOG,
    "audit_cosignature": _LOG,
    "audit_seal": _LOG,
    "capture": "the log is held against it",
    "quality_finding": "it tells what an aggregator and the books differed in, and that they do no more",
    "round_log": _SEALED,
    "round_segment": _SEALED,
    "round_tile": _SEALED,
    "journal_sealed": _SEALED,
    "subject_case": "it tells that a request was answered; it holds no word about a person",
    "subject_export": "the files are removed when their time is over; the row tells that they were made",
    "processing_restriction": "it tells what was restricted, and since when",
    "erasure": "the certificate outlives what it certifies",
    "legal_hold": "it tells why something was kept",
    "retention_run": "the certificate outlives what it certifies",
    "retention_step": "the certificate outlives what it certifies",
}
"""Tables of a law's schedule that no schedule empties, and why. The database has no way to do it either."""


_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}", re.ASCII)


def check_words(reason: str, case_reference: str = "") -> None:
    """Raise `ReasonInvalid` for a reason that is no code, or a case that is no reference."""
    if not _CODE.fullmatch(reason):
        raise ReasonInvalid(f"reason: a code, not a sentence ({_CODE.pattern})")
    if case_reference and not _REFERENCE.fullmatch(case_reference):
        raise ReasonInvalid("case: up to 100 letters, digits and . _ : / - are meant")


def check_lift(hold: Hold, lifter: str) -> bool:
    """Return whether `lifter` ends a hold, or is the first to ask for it; raise `HoldLifted`, `SamePerson`."""
    if hold.lifted_at is not None:
        raise HoldLifted(f"hold {hold.hold_id} was lifted before")
    if hold.lift_asked_by == lifter:
        raise SamePerson(f"{lifter} asked for the end of the hold; somebody else has to lift it")
    return bool(hold.lift_asked_by)


def join_periods(periods: Iterable[Retention]) -> Retention:
    """Return the longest of some periods, with the later start."""
    return reduce(get_kind("retention_years").join, periods)


def compute_cutoff(retention: Retention, now: datetime, time_zone: str) -> datetime | None:
    """Return the first moment whose records must still be kept at `now`; None where all must.

    A record whose time began on a day is kept through the last day of its period, in the time zone of the licence.
    """
    if retention.years is None:
        return None
    today = compute_local_day(now, time_zone)
    months = retention.years * 12
    # A day more than the same day of that year: in leap years terms run on to the first of March.
    day = date(today.year - retention.years, today.month, 1) + timedelta(days=today.day + 1)
    while add_months(day, months) >= today:
        day -= timedelta(days=1)
    return compute_day_start(day + timedelta(days=1), time_zone)


def draw_lines(policy: EffectivePolicy, now: datetime) -> list[ScheduleLine]:
    """Return the schedule of every table that loses rows, for players of one licence."""
    lines: list[ScheduleLine] = []
    for table, life in DESTROYED.items():
        records = RECORDS[life.schedule]
        period = join_periods(policy.retention[record] for record in records)
        figures = tuple(policy.figures[f"retention_years.{record}"] for record in records)
        cutoff = compute_cutoff(period, now, policy.time_zone)
        lines.append(ScheduleLine(table, policy.licence, period, figures, cutoff))
    return lines


def compute_version(lines: Sequence[ScheduleLine]) -> str:
    """Return a digest of periods and starts, the same on every day."""
    facts = [
        f"{line.table}|{line.licence}|{line.retention.years}|{line.retention.counts_from.value}"
        for line in sorted(lines, key=lambda line: (line.table, line.licence))
    ]
    return sha256("\n".join(facts).encode()).hexdigest()[:32]


def compute_digest(run_id: UUID, version: str, proposed_by: str, proposed_at: datetime, steps: Sequence[Step]) -> str:
    """Return the digest of a plan; `retention_digest()` of the database makes the same of what is stored."""
    lines = [str(run_id), version, proposed_by, str(to_microseconds(proposed_at))]
    lines += [
        f"{step.step}|{step.table}|{step.licence}|{step.counts_from}|{to_microseconds(step.cutoff_at)}|{step.rows_due}"
        for step in sorted(steps, key=lambda step: step.step)
    ]
    return sha256("\n".join(lines).encode()).hexdigest()


def check_age(run: Run, now: datetime) -> None:
    """Raise `PlanStale` for a plan that is too old."""
    if now - run.proposed_at > PLAN_LIFETIME:
        raise PlanStale(f"the plan was proposed on {run.proposed_at.date()}; draw a new one")


def check_fresh(run: Run, version: str, now: datetime) -> None:
    """Raise `PlanStale` for a plan that is too old, or that was drawn by another schedule."""
    check_age(run, now)
    if run.schedule_version != version:
        raise PlanStale("the schedule has changed since the plan was proposed; draw a new one")


def check_approval(run: Run, digest: str, approver: str, version: str, now: datetime) -> None:
    """Raise unless `approver` may approve the plan that they looked at."""
    if run.approved_by is not None:
        raise PlanSettled(f"the plan was approved by {run.approved_by}")
    if run.digest != digest:
        raise PlanDiffers(f"the plan's digest is {run.digest}")
    if run.proposed_by == approver:
        raise SamePerson(f"{approver} proposed the plan; somebody else has to approve it")
    check_fresh(run, version, now)


def check_carry_out(run: Run, version: str, now: datetime) -> None:
    """Raise unless a plan may be carried out."""
    if run.approved_by is None:
        raise PlanNotApproved("nobody has approved the plan")
    if run.finished_at is not None:
        raise PlanSettled("the plan was carried out")
    check_fresh(run, version, now)


def decide_keepings(
    subject_id: UUID,
    holds: Iterable[Hold],
    retention: Mapping[RecordClass, Retention],
    *,
    registered_on: date | None,
    closed_on: date | None,
    today: date,
) -> list[Keeping]:
    """Return every reason why who a subject is must stay; `registered_on` is None for one that is no player."""
    found = [
        Keeping(KeptBecause.LEGAL_HOLD, hold.case_reference)
        for hold in holds
        if hold.lifted_at is None and _covers_identity(hold, subject_id)
    ]
    if registered_on is None:
        return found
    if closed_on is None:
        found.append(Keeping(KeptBecause.ACCOUNT_OPEN, "player"))
        return found
    for record in IDENTITY_RECORDS:
        until = compute_kept_until(retention[record], closed_on, closed_on)
        if until is None:
            found.append(Keeping(KeptBecause.RETENTION_UNKNOWN, record.value))
        elif today <= until:
            found.append(Keeping(KeptBecause.RETENTION, record.value, until))
    return found


def _covers_identity(hold: Hold, subject_id: UUID) -> bool:
    match hold.scope:
        case HoldScope.PLAYER:
            return hold.subject_id == subject_id
        case HoldScope.TABLE:
            return hold.table_name in IDENTITY_TABLES
        case HoldScope.TENANT:
            return True
