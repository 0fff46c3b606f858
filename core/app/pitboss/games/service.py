"""Use cases of the games room: wallet calls into requests and back, launches, catalogue, rounds."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

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
    SessionState,
)
from pitboss.games.errors import AggregatorUnavailable, GameNotFound, LaunchRefused, RoundNotFound
from pitboss.games.rules import compute_round_id
from pitboss.games.runtime import Rounds
from pitboss.games.store import catalogue, rounds
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.paging import Page
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Op
from pitboss.plughost.contracts import GamesCalls
from pitboss.wallet.contracts import LegRequest, WalletRequest, WalletResult
from pitboss.wallet.service import make_leg
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

SESSION_LIFETIME: Final = timedelta(hours=12)
"""How long bets of a launched session are taken; the platform's strict default."""

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
    malformed = bool(call.session) and _SESSION.fullmatch(call.session) is None
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


async def list_games(session: AsyncSession, scope: TenantScope, plugin: str | None = None) -> list[Game]:
    """Return the tenant's catalogue."""
    return await catalogue.list_games(session, scope, plugin)


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
    """Switch a game on or off for the tenant; raise `GameNotFound`."""
    game = await catalogue.find_game(session, scope, code)
    if game is None:
        raise GameNotFound("this game is not in the catalogue")
    if await catalogue.set_game_enabled(session, scope, game.game_id, enabled=enabled):
        game = msgspec.structs.replace(game, enabled=enabled)
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


async def open_session(
    session: AsyncSession,
    scope: TenantScope,
    *,
    player_id: int,
    wallet_id: int,
    game: Game,
    actor: Actor,
    origin: Origin,
) -> UUID:
    """Write a session before its launch leaves the process, so that no wallet call comes for an unknown one."""
    session_id = new_uuid()
    await catalogue.insert_session(
        session,
        scope,
        session_id=session_id,
        player_id=player_id,
        wallet_id=wallet_id,
        game_id=game.game_id,
        lifetime=SESSION_LIFETIME,
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
