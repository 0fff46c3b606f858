"""Use cases of the games room: wallet calls into requests and back, launches, catalogue, rounds."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.games.contracts import (
    Endpoint,
    Game,
    Holder,
    LaunchedGame,
    Round,
    RoundSubject,
    RoundSummary,
    SealedRound,
    SessionState,
)
from pitboss.games.errors import AggregatorUnavailable, GameNotFound, LaunchRefused, RoundNotFound
from pitboss.games.rules import compute_round_id
from pitboss.games.runtime import Rounds
from pitboss.games.store import catalogue, rounds, sealing
from pitboss.games.store.quality import fetch_counted_rounds, find_round_names
from pitboss.kernel.clock import utc_now
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.paging import Page
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Op
from pitboss.limits import service as limits
from pitboss.limits.contracts import LONGEST_WINDOW
from pitboss.platform.outbox import enqueue_once
from pitboss.plughost.contracts import CATALOGUE_JOB, GamesCalls
from pitboss.policy.contracts import EffectivePolicy
from pitboss.wallet.contracts import LegRequest, WalletRequest, WalletResult
from pitboss.wallet.service import make_leg
from pitboss_sdk.events import CatalogueChanged, GameResumed, GamesEvent, GameSuspended
from pitboss_sdk.games import (
    CallKind,
    GameInfo,
    LaunchRequest,
    LegAnswer,
    LegKind,
    WalletAnswer,
    WalletCall,
)
from pitboss_sdk.outcome import Done, Refused

__all__ = ["fetch_counted_rounds", "find_round_names"]

SESSION_LIFETIME: Final = timedelta(hours=12)
"""How long bets of a launched session are taken at most; a limit of play time may end it sooner."""
SYNC_DELAY_SECONDS: Final = 1
"""How long a list of games that changed waits for further changes."""

_OPS = {LegKind.BET: Op.BET, LegKind.WIN: Op.WIN, LegKind.ROLLBACK: Op.BET_ROLLBACK}
_ROUNDS = Rounds()
_SESSION = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


def build_request(endpoint: Endpoint, call: WalletCall, holder: Holder, *, takes_bets: bool = True) -> WalletRequest:
    """Return the wallet request that a verified call of a known player asks for.

    Unless the tenant `takes_bets`, new ones are refused; what was decided before is told again, and wins are paid.
    """
    tenant_id, wallet_id, source_id = endpoint.scope.tenant_id, holder.wallet_id, endpoint.source_id
    if call.kind is CallKind.BALANCE:
        return WalletRequest(tenant_id, wallet_id, source_id, ())
    malformed = _SESSION.fullmatch(call.session) is None if call.session else holder.licence not in endpoint.sessionless
    round_id = compute_round_id(source_id, call.round) if call.round else ""
    account_id = endpoint.revenue_accounts[call.currency] if call.legs else 0
    jackpots: dict[str, int] = {}
    legs: list[LegRequest] = []
    for leg in call.legs:
        reference, amount_minor = leg.reference, leg.amount_minor
        if leg.jackpot_minor:
            jackpots[reference] = leg.jackpot_minor
        op = _OPS[leg.kind]
        legs.append(
            make_leg(op, wallet_id, reference, amount_minor, account_id, context=call.round, reverses=leg.reverses)
        )
    subject = RoundSubject(
        holder.player_id,
        call.currency,
        endpoint.plugin,
        call.game,
        "" if malformed else call.session,
        malformed,
        call.round,
        call.round_finished,
        call.free_spin,
        jackpots,
        call.jackpot_pool,
    )
    return WalletRequest(tenant_id, wallet_id, source_id, legs, round_id, _ROUNDS, subject, takes_bets)


def build_answer(request: WalletRequest, result: WalletResult) -> WalletAnswer:
    """Return the decision in the words of the dialect's contract."""
    legs = tuple([LegAnswer(leg.reference, leg.transaction, abs(leg.d_bonus)) for leg in result.legs])
    return WalletAnswer(result.refusal, result.balance_minor, request.round_id, legs, result.detail)


async def sync_catalogue(
    session: AsyncSession, scope: TenantScope, plugin: str, games: tuple[GameInfo, ...], actor: Actor, origin: Origin
) -> None:
    """Take over an aggregator's list; games that are no longer in it stay, because rounds name them."""
    new, changed = await catalogue.upsert_games(session, scope, plugin, games)
    if new or changed:
        await record_event(
            session,
            scope,
            AuditEvent(
                type="game.catalogue_synced",
                actor=actor,
                origin=origin,
                target_type="plugin",
                target_id=plugin,
                changes=(Change("new", None, new), Change("changed", None, changed)),
            ),
        )


async def list_offered(session: AsyncSession, scope: TenantScope, *, most: int) -> list[Game]:
    """Return the first of the tenant's games that are in play, by title."""
    return await catalogue.list_offered(session, scope, most)


async def list_game_page(
    session: AsyncSession, scope: TenantScope, *, enabled_only: bool, cursor: str | None = None, page_size: int = 50
) -> Page[Game]:
    """Return some of the tenant's catalogue; `enabled_only` leaves out what is switched off."""
    return await catalogue.list_game_page(session, scope, enabled_only=enabled_only, cursor=cursor, page_size=page_size)


async def get_game(session: AsyncSession, scope: TenantScope, code: str, plugin: str | None = None) -> Game:
    """Return an enabled game by its code; raise `GameNotFound`."""
    game = await catalogue.find_game(session, scope, code, plugin)
    if game is None or not game.enabled:
        raise GameNotFound("this game is not offered here")
    return game


async def set_game_enabled(
    session: AsyncSession, scope: TenantScope, code: str, *, enabled: bool, actor: Actor, origin: Origin
) -> Game:
    """Switch a game on or off for the tenant; one that its provider suspended stays out of play. Raise `GameNotFound`."""
    game = await catalogue.find_game(session, scope, code)
    if game is None:
        raise GameNotFound("this game is not in the catalogue")
    if await catalogue.set_game_switched_on(session, scope, game.game_id, on=enabled):
        game = msgspec.structs.replace(game, enabled=enabled and not game.suspended)
        event = AuditEvent(
            type="game.enabled" if enabled else "game.disabled",
            actor=actor,
            origin=origin,
            target_type="game",
            target_id=f"{game.plugin}:{game.code}",
            changes=(Change("enabled", not enabled, enabled),),
        )
        await record_event(session, scope, event)
    return game


async def carry_out_event(
    session: AsyncSession, scope: TenantScope, plugin: str, event: GamesEvent, *, actor: Actor, origin: Origin
) -> None:
    """Do what an aggregator's event asks for; raise `GameNotFound` for a game that the catalogue has not, or not yet."""
    match event:
        case CatalogueChanged():
            # A little later, so that many in a row ask for one list.
            due_at = utc_now() + timedelta(seconds=SYNC_DELAY_SECONDS)
            await enqueue_once(session, scope, CATALOGUE_JOB, {"plugin": plugin}, available_at=due_at)
        case GameSuspended(code):
            await _set_suspended(session, scope, plugin, code, True, actor, origin)
        case GameResumed(code):
            await _set_suspended(session, scope, plugin, code, False, actor, origin)


async def _set_suspended(
    session: AsyncSession, scope: TenantScope, plugin: str, code: str, suspended: bool, actor: Actor, origin: Origin
) -> None:
    game = await catalogue.find_game(session, scope, code, plugin)
    if game is None:
        raise GameNotFound("this game is not in the catalogue")
    if await catalogue.set_game_suspended(session, scope, game.game_id, suspended=suspended):
        event = AuditEvent(
            type="game.suspended" if suspended else "game.resumed",
            actor=actor,
            origin=origin,
            target_type="game",
            target_id=f"{plugin}:{code}",
            changes=(Change("suspended", not suspended, suspended),),
        )
        await record_event(session, scope, event)


async def open_session(
    session: AsyncSession,
    scope: TenantScope,
    *,
    player_id: int,
    wallet_id: int,
    game: Game,
    policy: EffectivePolicy,
    actor: Actor,
    origin: Origin,
) -> UUID:
    """Write a session before its launch leaves the process, so that no wallet call comes for an unknown one.

    It lasts no longer than the player's limits of play time leave; raises `PlayTimeUsedUp` and `LimitMandatory`.
    """
    # A limit that is lowered at the same time either sees this session or is seen by it.
    await accounts.claim_player(session, scope, player_id)
    now = utc_now()
    spans = await _list_spans(session, scope, player_id, now)
    left = await limits.require_play_time(session, scope, player_id, spans, policy=policy, now=now)
    session_id = new_uuid()
    await catalogue.insert_session(
        session,
        scope,
        session_id=session_id,
        player_id=player_id,
        wallet_id=wallet_id,
        game_id=game.game_id,
        opened_at=now,
        ends_at=now + (SESSION_LIFETIME if left is None else min(SESSION_LIFETIME, left)),
    )
    event = AuditEvent(
        type="game_session.launched",
        actor=actor,
        origin=origin,
        target_type="game_session",
        target_id=str(session_id),
        changes=(Change("game", None, f"{game.plugin}:{game.code}"),),
    )
    await record_event(session, scope, event)
    return session_id


async def close_session(
    session: AsyncSession, scope: TenantScope, player_id: int, session_id: UUID, *, actor: Actor, origin: Origin
) -> None:
    """End one of a player's sessions: it takes no more bets, and its time runs no longer; wins of it are paid.

    Ending it again does nothing. Raises `GameSessionNotFound`.
    """
    wallet_id = await catalogue.close_session(session, scope, player_id, session_id, utc_now())
    if wallet_id is None:
        return
    await ledger.change_terms(session, scope, wallet_id)
    event = AuditEvent("game_session.closed", actor, origin, "game_session", str(session_id))
    await record_event(session, scope, event)


async def keep_play_time(
    session: AsyncSession, scope: TenantScope, player_id: int, *, policy: EffectivePolicy
) -> timedelta | None:
    """End games that are open when the player's time is over; return how much of it is left, None for any.

    To be called in the transaction that changes a limit of play time.
    """
    now = utc_now()
    spans = await _list_spans(session, scope, player_id, now)
    left = await limits.find_play_time_left(session, scope, player_id, spans, policy=policy, now=now)
    if left is not None:
        for wallet_id in sorted(await catalogue.shorten_sessions(session, scope, player_id, now + left)):
            await ledger.change_terms(session, scope, wallet_id)
    return left


async def _list_spans(
    session: AsyncSession, scope: TenantScope, player_id: int, now: datetime
) -> list[tuple[datetime, datetime]]:
    """Return when games of a player were open, as far back as a limit of play time looks."""
    since = now - LONGEST_WINDOW
    return await catalogue.list_session_spans(session, scope, player_id, since, lifetime=SESSION_LIFETIME)


async def request_launch(driver: GamesCalls, request: LaunchRequest) -> LaunchedGame:
    """Ask the aggregator to open the game; raise `LaunchRefused` or `AggregatorUnavailable`."""
    outcome = await driver.launch(request)
    if isinstance(outcome, Done):
        return LaunchedGame(UUID(request.session), outcome.value.url)
    if isinstance(outcome, Refused):
        raise LaunchRefused(f"the aggregator refused ({outcome.code})")
    raise AggregatorUnavailable("the aggregator did not answer; try again")


async def finish_launch(session: AsyncSession, scope: TenantScope, session_id: UUID, *, opened: bool) -> None:
    """Note how a launch ended; after one that failed, lanes that remember the session take no more bets for it."""
    state = SessionState.OPEN if opened else SessionState.FAILED
    wallet_id = await catalogue.set_session_state(session, scope, session_id, state)
    if wallet_id is not None and not opened:
        await ledger.change_terms(session, scope, wallet_id)


async def fetch_sealed_rounds(
    connection: asyncpg.Connection, scope: TenantScope, names: Collection[tuple[str, int]]
) -> dict[tuple[str, int], SealedRound]:
    """Return what the sealed log says of rounds, by round and wallet."""
    return await sealing.fetch_sealed_rounds(connection, scope.tenant_id, names)


async def list_rounds(
    session: AsyncSession,
    scope: TenantScope,
    *,
    wallet_id: int | None = None,
    cursor: str | None = None,
    page_size: int = 50,
) -> Page[RoundSummary]:
    """Return rounds, newest first, of one wallet or of the tenant."""
    return await rounds.list_rounds(session, scope, wallet_id=wallet_id, cursor=cursor, page_size=page_size)


async def get_round(session: AsyncSession, scope: TenantScope, round_id: UUID) -> list[Round]:
    """Return every player's part in a round with all bookings; raise `RoundNotFound`."""
    parts = await rounds.find_round_parts(session, scope, round_id)
    if not parts:
        raise RoundNotFound("there is no such round")
    return [
        Round(
            summary,
            tuple(await ledger.list_round_bookings(session, scope, summary.wallet_id, round_id, versions)),
        )
        for summary, versions in parts
    ]


async def get_provider_round(
    session: AsyncSession, scope: TenantScope, plugin: str, provider_round: str
) -> list[Round]:
    """Return a round by the id that the provider gave it; raise `RoundNotFound`."""
    source = f"games.{plugin}"
    if source not in await ledger.list_sources(session, scope):
        raise RoundNotFound("there is no such round")
    source_id = await ledger.ensure_source(session, scope, source)
    return await get_round(session, scope, UUID(compute_round_id(source_id, provider_round)))
