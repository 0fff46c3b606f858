"""Rounds: read and written by batches, found and listed by readers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.games.contracts import RoundMode, RoundState, RoundSubject, RoundSummary
from pitboss.games.rules import RoundFacts
from pitboss.kernel.paging import Page, decode_cursor, encode_cursor
from pitboss.kernel.scope import TenantScope
from pitboss.wallet.contracts import WalletRequest

_READ = """
select n.position, coalesce(s.player_id = n.player_id and s.state <= 2 and s.expires_at > now(), false),
    coalesce(g.enabled, false), coalesce(g.version_id, 0), r.first_version is not null,
    r.first_version, r.last_version, r.bet_real, r.bet_bonus, r.win_minor, r.jackpot_minor,
    r.balance_before, r.balance_after, r.bets, r.mode, r.state, r.game_version_id, r.session_id
from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::uuid[])
    with ordinality as n(tenant_id, wallet_id, player_id, session_id, plugin, game, round_id, position)
left join game_session s on s.tenant_id = n.tenant_id and s.session_id = n.session_id
left join game g on g.tenant_id = n.tenant_id and g.plugin = n.plugin and g.code = n.game
left join round r on r.tenant_id = n.tenant_id and r.round_id = n.round_id and r.wallet_id = n.wallet_id
"""

_SAVE = """
insert into round as r (tenant_id, round_id, wallet_id, source_id, reference, jackpot_pool, session_id, first_version,
    last_version, bet_real, bet_bonus, win_minor, jackpot_minor, balance_before, balance_after, bets, mode, state,
    game_version_id)
select * from unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::int[], $5::text[], $6::text[], $7::uuid[],
    $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[],
    $15::bigint[], $16::int[], $17::smallint[], $18::smallint[], $19::bigint[])
on conflict (tenant_id, round_id, wallet_id) do update set
    last_version = excluded.last_version, bet_real = excluded.bet_real, bet_bonus = excluded.bet_bonus,
    win_minor = excluded.win_minor, jackpot_minor = excluded.jackpot_minor, balance_after = excluded.balance_after,
    bets = excluded.bets, mode = excluded.mode, state = excluded.state, updated_at = now(),
    jackpot_pool = case when excluded.jackpot_pool <> '' then excluded.jackpot_pool else r.jackpot_pool end
"""

RoundName = tuple[int, UUID, int]


async def read_rounds(connection: asyncpg.Connection, requests: Sequence[WalletRequest]) -> list[RoundFacts]:
    """Return session, game and round of each request, in order."""
    subjects: list[RoundSubject] = [request.subject for request in requests]
    rows = await connection.fetch(
        _READ,
        [request.tenant_id for request in requests],
        [request.wallet_id for request in requests],
        [subject.player_id for subject in subjects],
        [subject.session for subject in subjects],
        [subject.plugin for subject in subjects],
        [subject.game for subject in subjects],
        [subject.round_id for subject in subjects],
    )
    found: list[RoundFacts | None] = [None] * len(requests)
    for row in rows:
        found[row[0] - 1] = RoundFacts(*row[1:]) if row[4] else RoundFacts(row[1], row[2], row[3], False)
    return [facts if facts is not None else RoundFacts(False, False, 0, False) for facts in found]


async def save_rounds(
    connection: asyncpg.Connection, rounds: Sequence[tuple[RoundName, int, RoundSubject, RoundFacts]]
) -> None:
    """Write the rounds that a batch changed; each comes with its name and source."""
    rows = [
        (
            *name,
            source_id,
            subject.round_reference,
            subject.jackpot_pool,
            facts.session,
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
        )
        for name, source_id, subject, facts in rounds
    ]
    await connection.execute(_SAVE, *[list(column) for column in zip(*rows, strict=True)])


_SUMMARY = """
select r.round_id, r.reference, r.wallet_id, w.player_id, w.currency, v.plugin, v.code, v.version_hash, r.mode,
    r.state, r.bet_real + r.bet_bonus, r.win_minor, r.jackpot_minor, r.jackpot_pool, r.balance_before,
    r.balance_after, r.started_at, r.updated_at, r.session_id, r.first_version, r.last_version
from round r
join wallet w on w.tenant_id = r.tenant_id and w.wallet_id = r.wallet_id
join game_version v on v.tenant_id = r.tenant_id and v.version_id = r.game_version_id
where r.tenant_id = :tenant_id
"""


def _summary(row: Row[Any]) -> RoundSummary:
    values = tuple(row)
    return RoundSummary(
        round=values[0],
        provider_round=values[1],
        wallet_id=values[2],
        player_id=values[3],
        currency=values[4],
        plugin=values[5],
        game=values[6],
        game_version_hash=values[7],
        mode=RoundMode(values[8]),
        state=RoundState(values[9]),
        bet_minor=values[10],
        win_minor=values[11],
        jackpot_minor=values[12],
        jackpot_pool=values[13],
        balance_before_minor=values[14],
        balance_after_minor=values[15],
        started_at=values[16],
        updated_at=values[17],
        session=values[18],
    )


async def find_round_parts(
    session: AsyncSession, scope: TenantScope, round_id: UUID
) -> list[tuple[RoundSummary, tuple[int, int]]]:
    """Return every player's part in a round, each with the first and last version of its bookings."""
    rows = await session.execute(
        text(_SUMMARY + " and r.round_id = :round_id order by r.wallet_id"),
        {"tenant_id": scope.tenant_id, "round_id": round_id},
    )
    return [(_summary(row), (row[19], row[20])) for row in rows]


async def list_rounds(
    session: AsyncSession, scope: TenantScope, *, wallet_id: int | None, cursor: str | None, page_size: int
) -> Page[RoundSummary]:
    """Return rounds by the time they began, newest first."""
    conditions = ""
    values: dict[str, Any] = {"tenant_id": scope.tenant_id, "most": page_size + 1}
    if wallet_id is not None:
        conditions += " and r.wallet_id = :wallet_id"
        values["wallet_id"] = wallet_id
    if cursor is not None:
        started_at, round_id = decode_cursor(cursor, tuple[datetime, UUID])
        conditions += " and (r.started_at, r.round_id) < (:started_at, :round_id)"
        values |= {"started_at": started_at, "round_id": round_id}
    order = " order by r.started_at desc, r.round_id desc limit :most"
    found = [_summary(row) for row in await session.execute(text(_SUMMARY + conditions + order), values)]
    items = found[:page_size]
    return Page(items, encode_cursor(items[-1].started_at, items[-1].round) if len(found) > page_size else None)
