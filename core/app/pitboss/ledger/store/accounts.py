"""Wallets, house accounts, sources and histories, read and opened inside a use case's session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from sqlalchemy import Row, Select, delete, exists, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from pitboss.kernel.paging import Page, decode_cursor, encode_cursor
from pitboss.kernel.scope import TenantScope
from pitboss.ledger.contracts import AccountKind, Balance, Booking, HouseAccount, Op, Wallet, WalletStatus
from pitboss.ledger.errors import HouseAccountNotFound, WalletNotFound
from pitboss.ledger.tables import (
    HoldRow,
    HouseAccountRow,
    HouseBalanceRow,
    HouseDeltaRow,
    JournalRow,
    SourceRow,
    UsageRow,
    WalletRow,
)
from pitboss_sdk.money import MAX_MINOR

PRUNED_AT_ONCE: Final = 1000
"""Rows of usage that one statement removes at most."""


async def open_wallet(session: AsyncSession, scope: TenantScope, player_id: int, currency: str, licence: str) -> int:
    """Open a player's wallet in `currency`, empty, and return its id; the same again returns the same.

    `licence` is the player's, empty for a tenant without packs; it stays. The wallet is closed to play as long as the player's other wallets are.
    """
    others = select(func.max(WalletRow.closed_until)).where(
        WalletRow.tenant_id == scope.tenant_id, WalletRow.player_id == player_id
    )
    await session.execute(
        insert(WalletRow)
        .values(
            tenant_id=scope.tenant_id,
            player_id=player_id,
            currency=currency,
            licence=licence,
            closed_until=others.scalar_subquery(),
        )
        .on_conflict_do_nothing()
    )
    return (await get_wallet(session, scope, player_id, currency)).wallet_id


def _wallet(row: WalletRow) -> Wallet:
    balance = Balance(row.real_minor, row.bonus_minor, row.held_minor, row.debt_minor)
    return Wallet(row.wallet_id, row.player_id, row.currency, balance, row.version)


async def find_wallet(session: AsyncSession, scope: TenantScope, player_id: int, currency: str) -> Wallet | None:
    """Return a player's wallet in `currency`, or None."""
    row = await session.scalar(
        select(WalletRow).where(
            WalletRow.tenant_id == scope.tenant_id, WalletRow.player_id == player_id, WalletRow.currency == currency
        )
    )
    return None if row is None else _wallet(row)


async def get_wallet(session: AsyncSession, scope: TenantScope, player_id: int, currency: str) -> Wallet:
    """Return a player's wallet in `currency`; raise `WalletNotFound`."""
    wallet = await find_wallet(session, scope, player_id, currency)
    if wallet is None:
        raise WalletNotFound(f"the player has no wallet in {currency}")
    return wallet


async def change_terms(
    session: AsyncSession,
    scope: TenantScope,
    wallet_id: int,
    *,
    status: WalletStatus | None = None,
    has_limits: bool | None = None,
    closed_until: datetime | Literal["as it was"] | None = "as it was",
) -> None:
    """Claim the next version of a wallet for something that decisions depend on, and change its marks where given.

    Until the transaction ends no posting to the wallet gets through, and none that was decided before it does after.
    """
    await session.execute(
        text(
            "select ledger_change_terms(:tenant, :wallet, cast(:status as smallint), cast(:limited as boolean),"
            " :closes, cast(:closed_until as timestamptz))"
        ),
        {
            "tenant": scope.tenant_id,
            "wallet": wallet_id,
            "status": None if status is None else int(status),
            "limited": has_limits,
            "closes": closed_until != "as it was",
            "closed_until": None if closed_until == "as it was" else closed_until,
        },
    )


async def claim_wallets(session: AsyncSession, scope: TenantScope, player_id: int) -> None:
    """Claim all wallets of a player: until the transaction ends nothing else is decided on them."""
    for wallet in sorted(await list_wallets(session, scope, player_id), key=_number):
        await change_terms(session, scope, wallet.wallet_id)


async def close_wallets(session: AsyncSession, scope: TenantScope, player_id: int, until: datetime | None) -> None:
    """Take no stakes and deposits of a player before `until`; None takes them again at once."""
    for wallet in sorted(await list_wallets(session, scope, player_id), key=_number):
        await change_terms(session, scope, wallet.wallet_id, closed_until=until)


def _number(wallet: Wallet) -> int:
    return wallet.wallet_id


async def set_wallet_status(session: AsyncSession, scope: TenantScope, player_id: int, status: WalletStatus) -> None:
    """Open or block a player's wallets; waits for postings under way, and those that come later see it."""
    others = await session.scalars(
        select(WalletRow.wallet_id)
        .where(WalletRow.tenant_id == scope.tenant_id, WalletRow.player_id == player_id)
        .where(WalletRow.status != int(status))
        .order_by(WalletRow.wallet_id)
    )
    for wallet_id in others.all():
        await change_terms(session, scope, wallet_id, status=status)


async def list_wallets(session: AsyncSession, scope: TenantScope, player_id: int) -> list[Wallet]:
    """Return a player's wallets by currency."""
    rows = await session.scalars(
        select(WalletRow)
        .where(WalletRow.tenant_id == scope.tenant_id, WalletRow.player_id == player_id)
        .order_by(WalletRow.currency)
    )
    return [_wallet(row) for row in rows]


def _booking(row: Row[JournalRow, str]) -> Booking:
    journal, source = row
    return Booking(
        wallet_id=journal.wallet_id,
        version=journal.version,
        op=Op(journal.op),
        account_id=journal.account_id,
        source=source,
        reference=journal.reference,
        round_id=journal.round_id,
        d_real=journal.d_real,
        d_bonus=journal.d_bonus,
        d_held=journal.d_held,
        d_debt=journal.d_debt,
        after=Balance(journal.real_after, journal.bonus_after, journal.held_after, journal.debt_after),
        reverses_version=journal.reverses_version,
        batch_id=journal.batch_id,
        created_at=journal.created_at,
    )


def _bookings(scope: TenantScope, wallet_id: int) -> Select[JournalRow, str]:
    return (
        select(JournalRow, SourceRow.name)
        .join(
            SourceRow,
            (SourceRow.tenant_id == JournalRow.tenant_id) & (SourceRow.source_id == JournalRow.source_id),
        )
        .where(JournalRow.tenant_id == scope.tenant_id, JournalRow.wallet_id == wallet_id)
    )


async def list_bookings(
    session: AsyncSession, scope: TenantScope, wallet_id: int, *, cursor: str | None, page_size: int
) -> Page[Booking]:
    """Return a wallet's journal, newest first."""
    statement = _bookings(scope, wallet_id).order_by(JournalRow.version.desc()).limit(page_size + 1)
    if cursor is not None:
        (version,) = decode_cursor(cursor, tuple[Annotated[int, msgspec.Meta(ge=0, le=MAX_MINOR)]])
        statement = statement.where(JournalRow.version < version)
    found = [_booking(row) for row in await session.execute(statement)]
    items = found[:page_size]
    more = len(found) > page_size
    return Page(items, encode_cursor(items[-1].version) if more else None)


async def list_round_bookings(
    session: AsyncSession, scope: TenantScope, wallet_id: int, round_id: UUID, versions: tuple[int, int]
) -> list[Booking]:
    """Return a round's bookings on a wallet, oldest first; `versions` bounds the search."""
    statement = _bookings(scope, wallet_id).where(
        JournalRow.version.between(*versions), JournalRow.round_id == round_id
    )
    return [_booking(row) for row in await session.execute(statement.order_by(JournalRow.version))]


async def open_house_accounts(
    session: AsyncSession, scope: TenantScope, currencies: Iterable[str], providers: Iterable[str]
) -> None:
    """Open the tenant's chart of accounts: one game revenue and clearing account a provider, the rest once."""
    chart = [(AccountKind.BONUS_COST, ""), (AccountKind.ADJUSTMENTS, ""), (AccountKind.CLEARING, "manual")]
    for provider in providers:
        chart += [(AccountKind.GAME_REVENUE, provider)]
    values = [
        {"tenant_id": scope.tenant_id, "kind": int(kind), "currency": currency, "provider": provider}
        for currency in sorted(set(currencies))
        for kind, provider in chart
    ]
    if values:
        await session.execute(insert(HouseAccountRow).values(values).on_conflict_do_nothing())


async def list_account_numbers(
    session: AsyncSession, scope: TenantScope, kind: AccountKind
) -> dict[tuple[str, str], int]:
    """Return the numbers of the tenant's house accounts of one kind by (provider, currency)."""
    rows = await session.execute(
        select(HouseAccountRow.provider, HouseAccountRow.currency, HouseAccountRow.account_id).where(
            HouseAccountRow.tenant_id == scope.tenant_id, HouseAccountRow.kind == int(kind)
        )
    )
    return {(provider, currency): account_id for provider, currency, account_id in rows}


async def get_house_account(
    session: AsyncSession, scope: TenantScope, kind: AccountKind, currency: str, provider: str
) -> int:
    """Return the number of a house account; raise `HouseAccountNotFound`."""
    account_id = await session.scalar(
        select(HouseAccountRow.account_id).where(
            HouseAccountRow.tenant_id == scope.tenant_id,
            HouseAccountRow.kind == int(kind),
            HouseAccountRow.currency == currency,
            HouseAccountRow.provider == provider,
        )
    )
    if account_id is None:
        raise HouseAccountNotFound(f"the tenant has no such account in {currency}")
    return account_id


async def list_house_accounts(session: AsyncSession, scope: TenantScope) -> list[HouseAccount]:
    """Return the tenant's house accounts with balances that are exact in this snapshot."""
    waiting = (
        select(func.coalesce(func.sum(HouseDeltaRow.delta_minor), 0))
        .where(
            HouseDeltaRow.tenant_id == HouseAccountRow.tenant_id,
            HouseDeltaRow.account_id == HouseAccountRow.account_id,
        )
        .scalar_subquery()
    )
    rows = await session.execute(
        select(HouseAccountRow, func.coalesce(HouseBalanceRow.folded_minor, 0) + waiting)
        .outerjoin(
            HouseBalanceRow,
            (HouseBalanceRow.tenant_id == HouseAccountRow.tenant_id)
            & (HouseBalanceRow.account_id == HouseAccountRow.account_id),
        )
        .where(HouseAccountRow.tenant_id == scope.tenant_id)
        .order_by(HouseAccountRow.currency, HouseAccountRow.kind, HouseAccountRow.provider)
    )
    return [
        HouseAccount(row.account_id, AccountKind(row.kind), row.currency, row.provider, int(balance))
        for row, balance in rows
    ]


async def ensure_source(session: AsyncSession, scope: TenantScope, name: str) -> int:
    """Return the number of a maker of external ids, for example ``games.softswiss``; make it where missing."""
    await session.execute(insert(SourceRow).values(tenant_id=scope.tenant_id, name=name).on_conflict_do_nothing())
    statement = select(SourceRow.source_id).where(SourceRow.tenant_id == scope.tenant_id, SourceRow.name == name)
    return (await session.execute(statement)).scalar_one()


async def list_sources(session: AsyncSession, scope: TenantScope) -> list[str]:
    """Return the makers of external ids that the tenant has, by name."""
    statement = select(SourceRow.name).where(SourceRow.tenant_id == scope.tenant_id).order_by(SourceRow.name)
    return list(await session.scalars(statement))


async def count_wallets(session: AsyncSession, scope: TenantScope, currency: str) -> int:
    """Return how many of the tenant's wallets are in `currency`, empty ones too."""
    statement = select(func.count()).where(WalletRow.tenant_id == scope.tenant_id, WalletRow.currency == currency)
    return int(await session.scalar(statement) or 0)


_FOLD = text("""
with taken as (
    delete from house_delta d using (
        select tenant_id, account_id, batch_id from house_delta
        where tenant_id = :tenant_id order by tenant_id, account_id, batch_id limit :most for update skip locked
    ) n
    where d.tenant_id = n.tenant_id and d.account_id = n.account_id and d.batch_id = n.batch_id
    returning d.tenant_id, d.account_id, d.delta_minor
), folded as (
    insert into house_balance (tenant_id, account_id, folded_minor)
    select tenant_id, account_id, sum(delta_minor) from taken group by tenant_id, account_id
    order by tenant_id, account_id
    on conflict (tenant_id, account_id)
    do update set folded_minor = house_balance.folded_minor + excluded.folded_minor
)
select count(*) from taken
""")


async def fold_house(session: AsyncSession, scope: TenantScope, most: int = 10_000) -> int:
    """Fold up to `most` committed deltas into the house balances and return how many; two folders share the work."""
    return int((await session.execute(_FOLD, {"tenant_id": scope.tenant_id, "most": most})).scalar_one())


async def list_expired_holds(
    session: AsyncSession, scope: TenantScope, most: int = 100
) -> list[tuple[int, int, int, str]]:
    """Return (wallet id, opened version, source id, reference) of open holds whose time is over."""
    rows = await session.execute(
        select(HoldRow.wallet_id, HoldRow.opened_version, JournalRow.source_id, JournalRow.reference)
        .join(
            JournalRow,
            (JournalRow.tenant_id == HoldRow.tenant_id)
            & (JournalRow.wallet_id == HoldRow.wallet_id)
            & (JournalRow.version == HoldRow.opened_version),
        )
        .where(HoldRow.tenant_id == scope.tenant_id, HoldRow.state == 1, HoldRow.expires_at <= func.now())
        .order_by(HoldRow.expires_at)
        .limit(most)
    )
    return [(wallet_id, version, source_id, reference) for wallet_id, version, source_id, reference in rows]


async def seed_usage(
    session: AsyncSession,
    scope: TenantScope,
    wallet_id: int,
    *,
    kind: int,
    period: int,
    window_start: date,
    since: datetime,
    ops: Sequence[Op],
    sign: int,
) -> None:
    """Write what a wallet used of a window before it had the limit: `sign` × player's change over `ops`.

    The window is named by its first day and counts from `since`, where that day begins in the licence's time zone.
    What undoes a movement from before it is no movement of this window.

    From here on the wallet is marked as limited and claimed until the transaction ends, so that no posting
    falls between sum and limit.
    """
    await change_terms(session, scope, wallet_id, has_limits=True)
    original = aliased(JournalRow)
    undoes_an_earlier_one = exists().where(
        original.tenant_id == JournalRow.tenant_id,
        original.wallet_id == JournalRow.wallet_id,
        original.version == JournalRow.reverses_version,
        original.created_at < since,
    )
    used = await session.scalar(
        select(func.coalesce(func.sum(sign * (JournalRow.d_real + JournalRow.d_bonus - JournalRow.d_debt)), 0)).where(
            JournalRow.tenant_id == scope.tenant_id,
            JournalRow.wallet_id == wallet_id,
            JournalRow.op.in_([int(op) for op in ops]),
            JournalRow.created_at >= since,
            ~undoes_an_earlier_one,
        )
    )
    statement = insert(UsageRow).values(
        tenant_id=scope.tenant_id,
        wallet_id=wallet_id,
        kind=kind,
        period=period,
        window_start=window_start,
        used_minor=int(used or 0),
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "wallet_id", "kind", "period", "window_start"],
            set_={"used_minor": statement.excluded.used_minor},
        )
    )


async def prune_usage(session: AsyncSession, scope: TenantScope, before: date) -> int:
    """Remove what was used of windows that began before a day, some at a time; return how many rows that were."""
    key = (UsageRow.tenant_id, UsageRow.wallet_id, UsageRow.kind, UsageRow.period, UsageRow.window_start)
    old = (
        select(*key)
        .where(UsageRow.tenant_id == scope.tenant_id, UsageRow.window_start < before)
        .limit(PRUNED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    removed = await session.execute(delete(UsageRow).where(tuple_(*key).in_(old)).returning(UsageRow.wallet_id))
    return len(removed.all())
