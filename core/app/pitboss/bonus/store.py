"""Every SQL statement of the bonus room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.bonus.contracts import Award, AwardOrder, Terms
from pitboss.bonus.tables import AwardTermsRow
from pitboss.kernel.paging import Page, decode_cursor, encode_cursor
from pitboss.kernel.scope import TenantScope
from pitboss.kernel.statements import ReadPart
from pitboss.ledger.contracts import AwardClaim
from pitboss.platform.db import number_array

_ROWS = msgspec.json.Decoder(list[tuple[int, int, str, int, int]])
_READ = """
select json_agg(json_build_array(t.tenant_id, t.wallet_id, t.award_id, t.required_minor,
    case when t.cancelled_at is null then (extract(epoch from t.expires_at) * 1000000)::bigint else 0 end))
from unnest($1::text::bigint[], $2::text::bigint[]) as n(tenant_id, wallet_id)
join award_terms t on t.tenant_id = n.tenant_id and t.wallet_id = n.wallet_id
"""
_FORGOTTEN_AFTER = timedelta(days=1)
"""When an order that was not booked is not waited for any more."""


def ask_terms(pairs: Sequence[tuple[int, int]]) -> ReadPart:
    """Return the part that reads the terms of all awards of wallets."""
    return ReadPart(_READ, (number_array([pair[0] for pair in pairs]), number_array([pair[1] for pair in pairs])))


def tell_terms(text: str) -> dict[tuple[int, int, str], Terms]:
    """Return what `ask_terms` read, by (tenant, wallet, reference of the booking)."""
    return {(row[0], row[1], row[2]): Terms(row[3], row[4]) for row in _ROWS.decode(text)}


def _award(row: AwardTermsRow) -> Award:
    order = AwardOrder(row.reference, row.amount_minor, row.required_minor, row.expires_at, row.reason)
    return Award(row.award_id, row.wallet_id, order, row.ordered_at, row.cancelled_at, row.cancel_reason)


async def insert_award(
    session: AsyncSession, scope: TenantScope, award_id: UUID, wallet_id: int, order: AwardOrder
) -> bool:
    """Write an award down; False when its reference was used before."""
    statement = insert(AwardTermsRow).values(
        tenant_id=scope.tenant_id, award_id=award_id, wallet_id=wallet_id, **msgspec.structs.asdict(order)
    )
    written = await session.execute(
        statement.on_conflict_do_nothing(index_elements=["tenant_id", "reference"]).returning(AwardTermsRow.award_id)
    )
    return written.first() is not None


async def find_by_reference(session: AsyncSession, scope: TenantScope, reference: str) -> Award | None:
    """Return the award of the caller's reference, or None."""
    row = await session.scalar(
        select(AwardTermsRow).where(AwardTermsRow.tenant_id == scope.tenant_id, AwardTermsRow.reference == reference)
    )
    return None if row is None else _award(row)


async def find_award(session: AsyncSession, scope: TenantScope, award_id: UUID) -> Award | None:
    """Return an award as it is now, or None."""
    statement = select(AwardTermsRow).where(
        AwardTermsRow.tenant_id == scope.tenant_id, AwardTermsRow.award_id == award_id
    )
    row = await session.scalar(statement.execution_options(populate_existing=True))
    return None if row is None else _award(row)


async def write_cancellation(
    session: AsyncSession, scope: TenantScope, award_id: UUID, at: datetime, reason: str
) -> None:
    """Note that an award was cancelled."""
    await session.execute(
        update(AwardTermsRow)
        .where(AwardTermsRow.tenant_id == scope.tenant_id, AwardTermsRow.award_id == award_id)
        .values(cancelled_at=at, cancel_reason=reason)
    )


async def list_awards(
    session: AsyncSession, scope: TenantScope, wallet_ids: Sequence[int], *, cursor: str | None, page_size: int
) -> Page[Award]:
    """Return the awards of wallets, newest first."""
    statement = (
        select(AwardTermsRow)
        .where(AwardTermsRow.tenant_id == scope.tenant_id, AwardTermsRow.wallet_id.in_(wallet_ids))
        .order_by(AwardTermsRow.award_id.desc())
        .limit(page_size + 1)
    )
    if cursor is not None:
        (before,) = decode_cursor(cursor, tuple[UUID])
        statement = statement.where(AwardTermsRow.award_id < before)
    found = [_award(row) for row in await session.scalars(statement)]
    items = found[:page_size]
    return Page(items, encode_cursor(items[-1].award_id) if len(found) > page_size else None)


async def list_going_on(session: AsyncSession, scope: TenantScope, wallet_ids: Sequence[int]) -> list[Award]:
    """Return the awards of wallets that neither expired nor were cancelled, in the order of their ids."""
    statement = select(AwardTermsRow).where(
        AwardTermsRow.tenant_id == scope.tenant_id,
        AwardTermsRow.wallet_id.in_(wallet_ids),
        AwardTermsRow.expires_at > func.now(),
        AwardTermsRow.cancelled_at.is_(None),
    )
    return [_award(row) for row in await session.scalars(statement.order_by(AwardTermsRow.award_id))]


async def list_ended(session: AsyncSession, scope: TenantScope, after: UUID | None, most: int) -> list[Award]:
    """Return awards whose time is over or that were cancelled, and that are not settled, in the order of their ids."""
    statement = select(AwardTermsRow).where(
        AwardTermsRow.tenant_id == scope.tenant_id,
        AwardTermsRow.settled_at.is_(None),
        or_(AwardTermsRow.expires_at <= func.now(), AwardTermsRow.cancelled_at.is_not(None)),
    )
    if after is not None:
        statement = statement.where(AwardTermsRow.award_id > after)
    return [_award(row) for row in await session.scalars(statement.order_by(AwardTermsRow.award_id).limit(most))]


async def list_claims(session: AsyncSession, scope: TenantScope) -> list[AwardClaim]:
    """Return the terms of all awards; read whole, for the proof of the books."""
    rows = await session.scalars(select(AwardTermsRow).where(AwardTermsRow.tenant_id == scope.tenant_id))
    return [
        AwardClaim(
            str(row.award_id),
            row.wallet_id,
            row.amount_minor,
            row.required_minor,
            row.expires_at,
            row.expires_at if row.cancelled_at is None else min(row.cancelled_at, row.expires_at),
        )
        for row in rows
    ]


async def write_settled(
    session: AsyncSession, scope: TenantScope, award_ids: Sequence[UUID], unbooked_ids: Sequence[UUID]
) -> None:
    """Note that nothing is left of awards; of those that were never booked, only where the order is old."""
    settled = AwardTermsRow.award_id.in_(award_ids)
    forgotten = AwardTermsRow.award_id.in_(unbooked_ids)
    await session.execute(
        update(AwardTermsRow)
        .where(
            AwardTermsRow.tenant_id == scope.tenant_id,
            or_(settled, forgotten & (AwardTermsRow.ordered_at < func.now() - _FORGOTTEN_AFTER)),
        )
        .values(settled_at=func.clock_timestamp())
    )
