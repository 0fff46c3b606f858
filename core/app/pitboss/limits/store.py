"""Every SQL statement of the limits."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.limits.contracts import Limit, LimitKind, Period
from pitboss.limits.tables import PlayerLimitRow
from pitboss.platform.db import number_array
from pitboss.platform.statements import ReadPart

_ROWS = msgspec.json.Decoder(list[tuple[int, int, int, int, int]])
_READ = """
select json_agg(json_build_array(l.tenant_id, l.wallet_id, l.kind, l.period, l.amount_minor))
from unnest($1::text::bigint[], $2::text::bigint[]) as n(tenant_id, wallet_id)
join player_limit l on l.tenant_id = n.tenant_id and l.wallet_id = n.wallet_id
"""


def ask_limits(pairs: Sequence[tuple[int, int]]) -> ReadPart:
    """Return the part that reads the limits of wallets."""
    return ReadPart(_READ, (number_array([pair[0] for pair in pairs]), number_array([pair[1] for pair in pairs])))


def tell_limits(text: str) -> dict[tuple[int, int], list[Limit]]:
    """Return what `ask_limits` read; wallets without limits are not in the answer."""
    found: dict[tuple[int, int], list[Limit]] = {}
    for row in _ROWS.decode(text):
        found.setdefault((row[0], row[1]), []).append(Limit(LimitKind(row[2]), Period(row[3]), row[4]))
    return found


async def write_limit(session: AsyncSession, scope: TenantScope, wallet_id: int, limit: Limit) -> None:
    """Set a limit of a wallet."""
    values = {
        "tenant_id": scope.tenant_id,
        "wallet_id": wallet_id,
        "kind": limit.kind,
        "period": limit.period,
        "amount_minor": limit.amount_minor,
    }
    statement = insert(PlayerLimitRow).values(values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "wallet_id", "kind", "period"],
            set_={"amount_minor": statement.excluded.amount_minor, "set_at": func.now()},
        )
    )


async def list_limits(session: AsyncSession, scope: TenantScope, wallet_id: int) -> list[Limit]:
    """Return the limits of one wallet."""
    rows = await session.execute(
        select(PlayerLimitRow.kind, PlayerLimitRow.period, PlayerLimitRow.amount_minor)
        .where(PlayerLimitRow.tenant_id == scope.tenant_id, PlayerLimitRow.wallet_id == wallet_id)
        .order_by(PlayerLimitRow.kind, PlayerLimitRow.period)
    )
    return [Limit(LimitKind(kind), Period(period), amount) for kind, period, amount in rows]


async def list_limited_wallets(session: AsyncSession, scope: TenantScope) -> list[int]:
    """Return all wallets that have a limit; read whole, for the proof of the books."""
    statement = select(PlayerLimitRow.wallet_id).where(PlayerLimitRow.tenant_id == scope.tenant_id).distinct()
    return list(await session.scalars(statement))


async def delete_limit(
    session: AsyncSession, scope: TenantScope, wallet_id: int, kind: LimitKind, period: Period
) -> None:
    """Remove a limit of a wallet."""
    await session.execute(
        delete(PlayerLimitRow).where(
            PlayerLimitRow.tenant_id == scope.tenant_id,
            PlayerLimitRow.wallet_id == wallet_id,
            PlayerLimitRow.kind == kind,
            PlayerLimitRow.period == period,
        )
    )
