"""Rounds: read and written by batches, found and listed by readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.games.contracts import (
    GameFacts,
    RoundFacts,
    RoundMode,
    RoundState,
    RoundSubject,
    RoundSummary,
    SessionFacts,
)
from pitboss.games.tables import GameVersionRow, RoundRow
from pitboss.kernel.paging import Page, decode_cursor, encode_cursor
from pitboss.kernel.scope import TenantScope
from pitboss.kernel.statements import ReadPart, WritePart
from pitboss.platform.db import id_array, number_array, text_array

_READ_SESSIONS = """
select json_agg(json_build_array(n.position, s.player_id, (extract(epoch from s.expires_at) * 1000000)::bigint))
from unnest($1::text::bigint[], $2::text::uuid[], $3::text::bigint[])
    with ordinality as n(tenant_id, session_id, wallet_id, position)
join game_session s on s.tenant_id = n.tenant_id and s.session_id = n.session_id
where s.wallet_id = n.wallet_id and s.state <= 2 and s.expires_at > now()
"""

_READ_GAMES = """
select json_agg(json_build_array(n.position, g.enabled, g.version_id))
from unnest($1::text::bigint[], $2::text[], $3::text[]) with ordinality as n(tenant_id, plugin, code, position)
join game g on g.tenant_id = n.tenant_id and g.plugin = n.plugin and g.code = n.code
"""

_READ_ROUNDS = """
select json_agg(json_build_array(n.position, r.first_version, r.last_version, r.bet_real, r.bet_bonus, r.win_minor,
    r.jackpot_minor, r.balance_before, r.balance_after, r.bets, r.mode, r.state, r.game_version_id, r.session_id))
from unnest($1::text::bigint[], $2::text::uuid[], $3::text::bigint[])
    with ordinality as n(tenant_id, round_id, wallet_id, position)
join round r on r.tenant_id = n.tenant_id and r.round_id = n.round_id and r.wallet_id = n.wallet_id
"""

_OPEN = """
insert into round (tenant_id, wallet_id, source_id, first_version, last_version, bet_real, bet_bonus, win_minor,
    jackpot_minor, balance_before, balance_after, bets, mode, state, game_version_id, player_id, round_id, session_id,
    reference, jackpot_pool, currency)
select * from unnest($1::text::bigint[], $2::text::bigint[], $3::text::int[], $4::text::bigint[], $5::text::bigint[],
    $6::text::bigint[], $7::text::bigint[], $8::text::bigint[], $9::text::bigint[], $10::text::bigint[],
    $11::text::bigint[], $12::text::int[], $13::text::smallint[], $14::text::smallint[], $15::text::bigint[],
    $16::text::bigint[], $17::text::uuid[], $18::text::uuid[], $19::text::text[], $20::text::text[], $21::text::text[])
"""

_CONTINUE = """
update round r set
    last_version = n.last_version, bet_real = n.bet_real, bet_bonus = n.bet_bonus, win_minor = n.win_minor,
    jackpot_minor = n.jackpot_minor, balance_after = n.balance_after, bets = n.bets, mode = n.mode, state = n.state,
    updated_at = now(), jackpot_pool = case when n.jackpot_pool <> '' then n.jackpot_pool else r.jackpot_pool end
from unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[], $5::text::bigint[],
    $6::text::bigint[], $7::text::bigint[], $8::text::bigint[], $9::text::int[], $10::text::smallint[],
    $11::text::smallint[], $12::text::bigint[], $13::text::smallint[], $14::text::uuid[], $15::text::text[])
    as n(tenant_id, wallet_id, last_version, bet_real, bet_bonus, win_minor, jackpot_minor, balance_after, bets, mode,
    state, seen_version, seen_state, round_id, jackpot_pool)
where r.tenant_id = n.tenant_id and r.round_id = n.round_id and r.wallet_id = n.wallet_id
    and r.last_version = n.seen_version and r.state = n.seen_state
returning 1
"""
_STILL_AS_SEEN = """
not exists (select from unnest($1::text::bigint[], $2::text::uuid[], $3::text::bigint[], $4::text::bigint[],
    $5::text::smallint[]) as n(tenant_id, round_id, wallet_id, seen_version, seen_state)
    left join round r on r.tenant_id = n.tenant_id and r.round_id = n.round_id and r.wallet_id = n.wallet_id
    where coalesce(r.last_version, 0) <> n.seen_version or coalesce(r.state, 0) <> n.seen_state)
"""
_ALL_CONTINUED = "(select count(*) from @) = $16::int"

_GAMES_STAND = """
$6::int = (select count(*) from unnest($1::text::bigint[], $2::text::text[], $3::text::text[], $4::text::bool[],
    $5::text::bigint[]) as n(tenant_id, plugin, code, enabled, version_id)
    join game g on g.tenant_id = n.tenant_id and g.plugin = n.plugin and g.code = n.code
        and g.enabled = n.enabled and g.version_id = n.version_id)
"""

RoundName = tuple[int, str, int]
SessionName = tuple[int, int, str]
"""Tenant, wallet and session: a session of another wallet is no session of this one."""
GameName = tuple[int, str, str]
ChangedRound = tuple[RoundName, int, RoundSubject, RoundFacts]
"""A round's name, the source of the call that changed it last, that call, and what the round is now."""
_SESSION_ROWS = msgspec.json.Decoder(list[tuple[int, int, int]])
_GAME_ROWS = msgspec.json.Decoder(list[tuple[int, bool, int]])
_ROUND_ROWS = msgspec.json.Decoder(
    list[tuple[int, int, int, int, int, int, int, int, int, int, int, int, int, str | None]]
)


def ask_sessions(names: Sequence[SessionName]) -> ReadPart:
    """Return the part that reads sessions that take bets."""
    numbers = number_array([name[0] for name in names]), number_array([name[1] for name in names])
    return ReadPart(_READ_SESSIONS, (numbers[0], id_array([name[2] for name in names]), numbers[1]))


def tell_sessions(names: Sequence[SessionName], text: str) -> dict[SessionName, SessionFacts]:
    """Return what `ask_sessions` read; those that take no bets are not in the answer."""
    return {names[row[0] - 1]: SessionFacts(*row[1:]) for row in _SESSION_ROWS.decode(text)}


def ask_games(names: Sequence[GameName]) -> ReadPart:
    """Return the part that reads games by (tenant, plugin, code)."""
    columns = [number_array([name[0] for name in names]), [name[1] for name in names], [name[2] for name in names]]
    return ReadPart(_READ_GAMES, columns)


def tell_games(names: Sequence[GameName], text: str) -> dict[GameName, GameFacts]:
    """Return what `ask_games` read; games that the tenant lacks are not in the answer."""
    return {names[row[0] - 1]: GameFacts(*row[1:]) for row in _GAME_ROWS.decode(text)}


def plan_games(games: Mapping[GameName, GameFacts]) -> WritePart:
    """Return the check that games are still as they are remembered."""
    values: list[Any] = [
        number_array([name[0] for name in games]),
        text_array([name[1] for name in games]),
        text_array([name[2] for name in games]),
        number_array([game.enabled for game in games.values()]),
        number_array([game.version_id for game in games.values()]),
        len(games),
    ]
    return WritePart("", values, _GAMES_STAND)


def ask_rounds(names: Sequence[RoundName]) -> ReadPart:
    """Return the part that reads rounds."""
    numbers = number_array([name[0] for name in names]), number_array([name[2] for name in names])
    return ReadPart(_READ_ROUNDS, (numbers[0], id_array([name[1] for name in names]), numbers[1]))


def tell_rounds(names: Sequence[RoundName], text: str) -> dict[RoundName, RoundFacts]:
    """Return what `ask_rounds` read; rounds that were never opened are not in the answer."""
    found: dict[RoundName, RoundFacts] = {}
    for row in _ROUND_ROWS.decode(text):
        facts = RoundFacts(*row[1:], exists=True, stored=True)
        facts.seen_version, facts.seen_state = facts.last_version, facts.state
        found[names[row[0] - 1]] = facts
    return found


def plan_seen(rounds: Mapping[RoundName, tuple[int, int]]) -> WritePart:
    """Return the check that rounds are as they were seen: (last version, state), zeros where they were never opened."""
    numbers = [
        number_array(column)
        for column in zip(*[(name[0], name[2], *seen) for name, seen in rounds.items()], strict=True)
    ]
    return WritePart("", (numbers[0], id_array([name[1] for name in rounds]), *numbers[1:]), _STILL_AS_SEEN)


def plan_rounds(rounds: Sequence[ChangedRound]) -> list[WritePart]:
    """Return the parts that write the rounds that a batch changed; they fail when one is not as it was seen."""
    opened = [changed for changed in rounds if not changed[3].stored]
    continued = [changed for changed in rounds if changed[3].stored]
    parts: list[WritePart] = []
    if opened:
        parts.append(_plan_open(opened))
    if continued:
        parts.append(_plan_continue(continued))
    return parts


def _plan_open(rounds: Sequence[ChangedRound]) -> WritePart:
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
    values: list[Any] = [
        *[number_array(column) for column in zip(*numbers, strict=True)],
        id_array([name[1] for name, _, _, _ in rounds]),
        id_array([facts.session or "" for _, _, _, facts in rounds]),
        text_array([subject.round_reference for _, _, subject, _ in rounds]),
        text_array([facts.jackpot_pool for _, _, _, facts in rounds]),
        text_array([subject.currency for _, _, subject, _ in rounds]),
    ]
    return WritePart(_OPEN, values)


def _plan_continue(rounds: Sequence[ChangedRound]) -> WritePart:
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
            facts.seen_version,
            facts.seen_state,
        )
        for name, _, _, facts in rounds
    ]
    values: list[Any] = [
        *[number_array(column) for column in zip(*numbers, strict=True)],
        id_array([name[1] for name, _, _, _ in rounds]),
        text_array([facts.jackpot_pool for _, _, _, facts in rounds]),
        len(rounds),
    ]
    return WritePart(_CONTINUE, values, _ALL_CONTINUED)


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
