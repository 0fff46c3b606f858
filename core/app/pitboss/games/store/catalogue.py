"""Games, their versions, and game sessions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.games.contracts import MAX_TITLE_LENGTH, Game, SessionState
from pitboss.games.errors import GameSessionNotFound
from pitboss.games.tables import GameRow, GameSessionRow, GameVersionRow
from pitboss.kernel.paging import Page, decode_cursor, encode_cursor
from pitboss.kernel.scope import TenantScope
from pitboss_sdk.games import GameInfo


async def upsert_games(
    session: AsyncSession, scope: TenantScope, plugin: str, games: Iterable[GameInfo]
) -> tuple[int, int]:
    """Write a provider's list; return how many games are new and how many are told of otherwise than before.

    One transaction at a time does so for a provider: another would count what this one changes as its own change.
    """
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"game {plugin}", scope.tenant_id))))
    before = {game.code: game for game in await list_games(session, scope, plugin)}
    new = changed = 0
    for game in games:
        version_id = await _ensure_version(session, scope, plugin, game)
        values = {
            "title": game.title[:MAX_TITLE_LENGTH],
            "provider": game.provider,
            "category": game.category,
            "rtp_basis_points": game.rtp_basis_points,
            "version_id": version_id,
        }
        statement = insert(GameRow).values(tenant_id=scope.tenant_id, plugin=plugin, code=game.code, **values)
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=["tenant_id", "plugin", "code"], set_={**values, "synced_at": func.now()}
            )
        )
        known = before.get(game.code)
        told = (values["title"], game.provider, game.category, game.version_hash, game.rtp_basis_points)
        new += known is None
        changed += known is not None and told != (
            known.title,
            known.provider,
            known.category,
            known.version_hash,
            known.rtp_basis_points,
        )
    return new, changed


async def _ensure_version(session: AsyncSession, scope: TenantScope, plugin: str, game: GameInfo) -> int:
    values = {
        "tenant_id": scope.tenant_id,
        "plugin": plugin,
        "code": game.code,
        "version_hash": game.version_hash,
    }
    await session.execute(insert(GameVersionRow).values(values).on_conflict_do_nothing())
    return (await session.execute(select(GameVersionRow.version_id).filter_by(**values))).scalar_one()


async def list_games(session: AsyncSession, scope: TenantScope, plugin: str) -> list[Game]:
    """Return a plugin's games by code."""
    statement = _games(scope).where(GameRow.plugin == plugin)
    return [_game(row, version_hash) for row, version_hash in await session.execute(statement)]


async def list_offered(session: AsyncSession, scope: TenantScope, most: int) -> list[Game]:
    """Return the first of a tenant's enabled games by title."""
    # The first are picked before anything is joined, else the planner sorts the whole catalogue.
    order = (GameRow.title, GameRow.plugin, GameRow.code)
    first = select(GameRow.game_id).where(GameRow.tenant_id == scope.tenant_id, GameRow.enabled)
    picked = first.order_by(*order).limit(most).subquery()
    statement = _games(scope).join(picked, picked.c.game_id == GameRow.game_id).order_by(None).order_by(*order)
    found = await session.execute(statement)
    return [_game(row, version_hash) for row, version_hash in found]


async def list_game_page(
    session: AsyncSession, scope: TenantScope, *, enabled_only: bool, cursor: str | None, page_size: int
) -> Page[Game]:
    """Return some of a tenant's games by plugin and code."""
    statement = _games(scope).limit(page_size + 1)
    if enabled_only:
        statement = statement.where(GameRow.enabled)
    if cursor is not None:
        statement = statement.where(
            tuple_(GameRow.plugin, GameRow.code) > tuple_(*decode_cursor(cursor, tuple[str, str]))
        )
    found = [_game(row, version_hash) for row, version_hash in await session.execute(statement)]
    items = found[:page_size]
    return Page(items, encode_cursor(items[-1].plugin, items[-1].code) if len(found) > page_size else None)


async def find_game(session: AsyncSession, scope: TenantScope, code: str, plugin: str | None = None) -> Game | None:
    """Return the game of a code, or None; without a plugin, the first plugin's that has it."""
    statement = _games(scope).where(GameRow.code == code).limit(1)
    if plugin is not None:
        statement = statement.where(GameRow.plugin == plugin)
    found = (await session.execute(statement)).first()
    return None if found is None else _game(*found)


def _games(scope: TenantScope) -> Select[GameRow, str]:
    return (
        select(GameRow, GameVersionRow.version_hash)
        .join(
            GameVersionRow,
            (GameVersionRow.tenant_id == GameRow.tenant_id) & (GameVersionRow.version_id == GameRow.version_id),
        )
        .where(GameRow.tenant_id == scope.tenant_id)
        .order_by(GameRow.plugin, GameRow.code)
    )


def _game(row: GameRow, version_hash: str) -> Game:
    return Game(
        game_id=row.game_id,
        plugin=row.plugin,
        code=row.code,
        title=row.title,
        provider=row.provider,
        category=row.category,
        version_hash=version_hash,
        rtp_basis_points=row.rtp_basis_points,
        enabled=row.enabled,
        suspended=row.suspended,
    )


async def set_game_switched_on(session: AsyncSession, scope: TenantScope, game_id: int, *, on: bool) -> bool:
    """Switch a game on or off; return whether that changed anything."""
    changed = await session.execute(
        update(GameRow)
        .where(GameRow.tenant_id == scope.tenant_id, GameRow.game_id == game_id, GameRow.switched_on.is_not(on))
        .values(switched_on=on)
        .returning(GameRow.game_id)
    )
    return changed.first() is not None


async def set_game_suspended(session: AsyncSession, scope: TenantScope, game_id: int, *, suspended: bool) -> bool:
    """Take a provider's word on whether a game is in play; return whether that changed anything."""
    changed = await session.execute(
        update(GameRow)
        .where(GameRow.tenant_id == scope.tenant_id, GameRow.game_id == game_id, GameRow.suspended.is_not(suspended))
        .values(suspended=suspended)
        .returning(GameRow.game_id)
    )
    return changed.first() is not None


async def insert_session(
    session: AsyncSession,
    scope: TenantScope,
    *,
    session_id: UUID,
    player_id: int,
    wallet_id: int,
    game_id: int,
    opened_at: datetime,
    ends_at: datetime,
) -> None:
    """Write a session that is being launched."""
    await session.execute(
        insert(GameSessionRow).values(
            tenant_id=scope.tenant_id,
            session_id=session_id,
            player_id=player_id,
            wallet_id=wallet_id,
            game_id=game_id,
            state=int(SessionState.LAUNCHING),
            opened_at=opened_at,
            expires_at=ends_at,
        )
    )


async def set_session_state(
    session: AsyncSession, scope: TenantScope, session_id: UUID, state: SessionState
) -> int | None:
    """Note how a launch ended, unless the session was closed meanwhile; return its wallet then."""
    return await session.scalar(
        update(GameSessionRow)
        .where(GameSessionRow.tenant_id == scope.tenant_id, GameSessionRow.session_id == session_id)
        .where(GameSessionRow.state != int(SessionState.CLOSED))
        .values(state=int(state))
        .returning(GameSessionRow.wallet_id)
    )


async def list_session_spans(
    session: AsyncSession, scope: TenantScope, player_id: int, since: datetime, *, lifetime: timedelta
) -> list[tuple[datetime, datetime]]:
    """Return from when to when games of a player were or will be open; those that ended before `since` are left out.

    None is open for longer than `lifetime`. A launch that failed opened nothing.
    """
    rows = await session.execute(
        select(GameSessionRow.opened_at, GameSessionRow.expires_at).where(
            GameSessionRow.tenant_id == scope.tenant_id,
            GameSessionRow.player_id == player_id,
            GameSessionRow.state != int(SessionState.FAILED),
            GameSessionRow.expires_at > since,
            # Follows from the line above; the index knows when a game was opened, not when it ended.
            GameSessionRow.opened_at > since - lifetime,
        )
    )
    return [(opened_at, ends_at) for opened_at, ends_at in rows]


async def shorten_sessions(session: AsyncSession, scope: TenantScope, player_id: int, ends_at: datetime) -> set[int]:
    """Let sessions of a player that last longer end at a moment; return their wallets."""
    rows = await session.scalars(
        update(GameSessionRow)
        .where(
            GameSessionRow.tenant_id == scope.tenant_id,
            GameSessionRow.player_id == player_id,
            GameSessionRow.state <= int(SessionState.OPEN),
            GameSessionRow.expires_at > ends_at,
        )
        .values(expires_at=ends_at)
        .returning(GameSessionRow.wallet_id)
    )
    return set(rows)


async def close_session(
    session: AsyncSession, scope: TenantScope, player_id: int, session_id: UUID, now: datetime
) -> int | None:
    """End one session of a player and return its wallet; None when it is over already. Raise `GameSessionNotFound`."""
    mine = (
        GameSessionRow.tenant_id == scope.tenant_id,
        GameSessionRow.player_id == player_id,
        GameSessionRow.session_id == session_id,
    )
    wallet_id = await session.scalar(
        update(GameSessionRow)
        .where(*mine, GameSessionRow.state <= int(SessionState.OPEN))
        .values(state=int(SessionState.CLOSED), expires_at=func.least(GameSessionRow.expires_at, now))
        .returning(GameSessionRow.wallet_id)
    )
    if wallet_id is None and await session.scalar(select(GameSessionRow.wallet_id).where(*mine)) is None:
        raise GameSessionNotFound("the player has no such game session")
    return wallet_id
