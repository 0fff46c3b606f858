"""Rounds: read and written by batches, found and listed by readers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlalchemy import Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.games.contracts import RoundFacts, RoundMode, RoundState, RoundSubject, RoundSummary
from pitboss.games.tables import GameVersionRow, RoundRow
from pitboss.kernel.paging import Page, decode_cursor, encode_cursor
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import id_array, number_array
from pitboss.wallet.contracts import WalletRequest

_READ = """
select n.position, coalesce(s.player_id = n.player_id and s.wallet_id = n.wallet_id and s.state <= 2 and s.expires_at > now(), false),
    coalesce(g.enabled, false), coalesce(g.version_id, 0), r.first_version is not null,
    r.first_version, r.last_version, r.bet_real, r.bet_bonus, r.win_minor, r.jackpot_minor,
    r.balance_before, r.balance_after, r.bets, r.mode, r.state, r.game_version_id, r.session_id
from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::uuid[], $5::text[], $6::text[], $7::text::uuid[])
    with ordinality as n(tenant_id, wallet_id, player_id, session_id, plugin, game, round_id, position)
left join game_session s on s.tenant_id = n.tenant_id and s.session_id = n.session_id
left join game g on g.tenant_id = n.tenant_id and g.plugin = n.plugin and g.code = n.game
left join round r on r.tenant_id = n.tenant_id and r.round_id = n.round_id and r.wallet_id = n.wallet_id
"""

_OPEN = """
insert into round (tenant_id, wallet_id, source_id, first_version, last_version, bet_real, bet_bonus, win_minor,
    jackpot_minor, balance_before, balance_after, bets, mode, state, game_version_id, player_id, round_id, session_id,
    reference, jackpot_pool, currency)
select * from unnest($1::text::bigint[], $2::text::bigint[], $3::text::int[], $4::text::bigint[], $5::text::bigint[],
    $6::text::bigint[], $7::text::bigint[], $8::text::bigint[], $9::text::bigint[], $10::text::bigint[],
    $11::text::bigint[], $12::text::int[], $13::text::smallint[], $14::text::smallint[], $15::text::bigint[],
    $16::text::bigint[], $17::text::uuid[], $18::text::uuid[], $19::text[], $20::text[], $21::text[])
"""

_CONTINUE = """
update round r set
    last_version = n.last_version, bet_real = n.bet_real, bet_bonus = n.bet_bonus, win_minor = n.win_minor,
    jackpot_minor = n.jackpot_minor, balance_after = n.balance_after, bets = n.bets, mode = n.mode, state = n.state,
    updated_at = now(), jackpot_pool = case when n.jackpot_pool <> '' then n.jackpot_pool else r.jackpot_pool end
from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[], $5::text::bigint[],
    $6::text::bigint[], $7::text::bigint[], $8::text::bigint[], $9::text::int[], $10::text::smallint[],
    $11::text::smallint[], $12::text::uuid[], $13::text[])
    as n(tenant_id, wallet_id, last_version, bet_real, bet_bonus, win_minor, jackpot_minor, balance_after, bets, mode,
    state, round_id, jackpot_pool)
where r.tenant_id = n.tenant_id and r.round_id = n.round_id and r.wallet_id = n.wallet_id
"""

RoundName = tuple[int, str, int]
ChangedRound = tuple[RoundName, int, RoundSubject, RoundFacts]
"""A round's name, the source of the call that changed it last, that call, and what the round is now."""


async def read_rounds(connection: asyncpg.Connection, requests: Sequence[WalletRequest]) -> list[RoundFacts]:
    """Return session, game and round of each request, in order."""
    subjects: list[RoundSubject] = [request.subject for request in requests]
    rows = await connection.fetch(
        _READ,
        number_array([request.tenant_id for request in requests]),
        number_array([request.wallet_id for request in requests]),
        number_array([subject.player_id for subject in subjects]),
        id_array([subject.session for subject in subjects]),
        [subject.plugin for subject in subjects],
        [subject.game for subject in subjects],
        id_array([request.round_id for request in requests]),
    )
    found: list[RoundFacts | None] = [None] * len(requests)
    for row in rows:
        found[row[0] - 1] = RoundFacts(*row[1:], stored=True) if row[4] else RoundFacts(row[1], row[2], row[3], False)
    return [facts if facts is not None else RoundFacts(False, False, 0, False) for facts in found]


async def save_rounds(connection: asyncpg.Connection, rounds: Sequence[ChangedRound]) -> None:
    """Write the rounds that a batch changed; the wallet's lock keeps others from opening the same one."""
    opened = [changed for changed in rounds if not changed[3].stored]
    if opened:
        await _open_rounds(connection, opened)
    continued = [changed for changed in rounds if changed[3].stored]
    if continued:
        await _continue_rounds(connection, continued)


async def _open_rounds(connection: asyncpg.Connection, rounds: Sequence[ChangedRound]) -> None:
    numbers = [
        (
            name[0],
            name[2],
            source_id,
            facts.first_version,
            facts.last_version,
            facts.bet_real,
            facts.bet_bonus,
            facts.win_minor,
            facts.jackpot_minor,
            facts.balance_before,
            facts.balance_after,
            facts.bets,
            facts.mode,
            facts.state,
            facts.round_version_id,
            subject.player_id,
        )
        for name, source_id, subject, facts in rounds
    ]
    await connection.execute(
        _OPEN,
        *[number_array(column) for column in zip(*numbers, strict=True)],
        id_array([name[1] for name, _, _, _ in rounds]),
        id_array([str(facts.session or "") for _, _, _, facts in rounds]),
        [subject.round_reference for _, _, subject, _ in rounds],
        [facts.jackpot_pool for _, _, _, facts in rounds],
        [subject.currency for _, _, subject, _ in rounds],
    )


async def _continue_rounds(connection: asyncpg.Connection, rounds: Sequence[ChangedRound]) -> None:
    numbers = [
        (
            name[0],
            name[2],
            facts.last_version,
            facts.bet_real,
            facts.bet_bonus,
            facts.win_minor,
            facts.jackpot_minor,
            facts.balance_after,
            facts.bets,
            facts.mode,
            facts.state,
        )
        for name, _, _, facts in rounds
    ]
    await connection.execute(
        _CONTINUE,
        *[number_array(column) for column in zip(*numbers, strict=True)],
        id_array([name[1] for name, _, _, _ in rounds]),
        [facts.jackpot_pool for _, _, _, facts in rounds],
    )


def _summary(row: RoundRow, version: GameVersionRow) -> RoundSummary:
    return RoundSummary(
        round=row.round_id,
        provider_round=row.reference,
        wallet_id=row.wallet_id,
        player_id=row.player_id,
        currency=row.currency,
        plugin=version.plugin,
        game=version.code,
        game_version_hash=version.version_hash,
        mode=RoundMode(row.mode),
        state=RoundState(row.state),
        bet_minor=row.bet_real + row.bet_bonus,
        win_minor=row.win_minor,
        jackpot_minor=row.jackpot_minor,
        jackpot_pool=row.jackpot_pool,
        balance_before_minor=row.balance_before,
        balance_after_minor=row.balance_after,
        started_at=row.started_at,
        updated_at=row.updated_at,
        session=row.session_id,
    )


def _rounds(scope: TenantScope) -> Select[RoundRow, GameVersionRow]:
    return (
        select(RoundRow, GameVersionRow)
        .join(
            GameVersionRow,
            (GameVersionRow.tenant_id == RoundRow.tenant_id) & (GameVersionRow.version_id == RoundRow.game_version_id),
        )
        .where(RoundRow.tenant_id == scope.tenant_id)
    )


async def find_round_parts(
    session: AsyncSession, scope: TenantScope, round_id: UUID
) -> list[tuple[RoundSummary, tuple[int, int]]]:
    """Return every player's part in a round, each with the first and last version of its bookings."""
    statement = _rounds(scope).where(RoundRow.round_id == round_id).order_by(RoundRow.wallet_id)
    return [
        (_summary(row, version), (row.first_version, row.last_version))
        for row, version in await session.execute(statement)
    ]


async def list_rounds(
    session: AsyncSession, scope: TenantScope, *, wallet_id: int | None, cursor: str | None, page_size: int
) -> Page[RoundSummary]:
    """Return rounds by the time they began, newest first."""
    statement = _rounds(scope)
    if wallet_id is not None:
        statement = statement.where(RoundRow.wallet_id == wallet_id)
    if cursor is not None:
        key = decode_cursor(cursor, tuple[datetime, UUID, int])
        statement = statement.where(tuple_(RoundRow.started_at, RoundRow.round_id, RoundRow.wallet_id) < key)
    statement = statement.order_by(
        RoundRow.started_at.desc(), RoundRow.round_id.desc(), RoundRow.wallet_id.desc()
    ).limit(page_size + 1)
    found = [_summary(row, version) for row, version in await session.execute(statement)]
    items = found[:page_size]
    return Page(
        items,
        encode_cursor(items[-1].started_at, items[-1].round, items[-1].wallet_id) if len(found) > page_size else None,
    )
