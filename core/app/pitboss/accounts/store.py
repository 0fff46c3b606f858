"""Every SQL statement of player accounts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts.contracts import (
    IDENTITY_COLUMNS,
    SESSION_IDLE,
    Player,
    PlayerSession,
    PlayerStatus,
    PreparedRegistration,
)
from pitboss.accounts.tables import (
    AttemptThrottleRow,
    PasswordResetRow,
    PlayerCredentialRow,
    PlayerIdentityRow,
    PlayerRow,
    PlayerSessionRow,
)
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import id_array, number_array

_SEEN_STEP = timedelta(minutes=1)
"""A session's last use is written at most so often, so that reading does not mean writing."""

_READ_NUMBERS = """
select n.position, p.player_id
from unnest($1::text::bigint[], $2::text::uuid[]) with ordinality as n(tenant_id, public_id, position)
join player p on p.tenant_id = n.tenant_id and p.public_id = n.public_id
"""


async def read_player_numbers(
    connection: asyncpg.Connection, names: Sequence[tuple[int, UUID]]
) -> dict[tuple[int, UUID], int]:
    """Return the numbers inside the cell of players by (tenant id, public id); unknown ones are not in the answer."""
    rows = await connection.fetch(
        _READ_NUMBERS, number_array([name[0] for name in names]), id_array([name[1].hex for name in names])
    )
    return {names[row[0] - 1]: row[1] for row in rows}


def _player(row: PlayerRow) -> Player:
    return Player(
        player_id=row.player_id,
        public_id=row.public_id,
        brand=row.brand,
        status=PlayerStatus(row.status),
        status_reason=row.status_reason,
        language=row.language,
        currency=row.currency,
        registered_at=row.registered_at,
        closed_at=row.closed_at,
        licence=row.licence,
    )


async def insert_player(
    session: AsyncSession, scope: TenantScope, public_id: UUID, prepared: PreparedRegistration
) -> Player:
    """Insert a player account without anything personal."""
    row = await session.scalar(
        insert(PlayerRow)
        .values(
            tenant_id=scope.tenant_id,
            public_id=public_id,
            brand=prepared.brand,
            language=prepared.language,
            currency=prepared.currency,
            licence=prepared.licence,
        )
        .returning(PlayerRow)
    )
    if row is None:
        raise AssertionError("an insert returns its row")
    return _player(row)


async def insert_identity(
    session: AsyncSession, scope: TenantScope, player: Player, email_index: bytes, sealed: Mapping[str, bytes]
) -> bool:
    """Insert the sealed values of a player, by column; False when the brand has the address already."""
    inserted = await session.scalar(
        insert(PlayerIdentityRow)
        .values(
            tenant_id=scope.tenant_id,
            player_id=player.player_id,
            brand=player.brand,
            email_index=email_index,
            **sealed,
        )
        .on_conflict_do_nothing(index_elements=["tenant_id", "brand", "email_index"])
        .returning(PlayerIdentityRow.player_id)
    )
    return inserted is not None


async def insert_credential(session: AsyncSession, scope: TenantScope, player_id: int, password_hash: str) -> None:
    """Insert a player's password hash."""
    row = insert(PlayerCredentialRow)
    await session.execute(row.values(tenant_id=scope.tenant_id, player_id=player_id, password_hash=password_hash))


async def fetch_player(session: AsyncSession, scope: TenantScope, player_id: int) -> Player | None:
    """Return a player by the number inside the cell."""
    row = await session.scalar(
        select(PlayerRow).where(PlayerRow.tenant_id == scope.tenant_id, PlayerRow.player_id == player_id)
    )
    return None if row is None else _player(row)


async def lock_player(session: AsyncSession, scope: TenantScope, player_id: int) -> None:
    """Lock a player's row against others who lock it."""
    await session.execute(
        select(PlayerRow.player_id)
        .where(PlayerRow.tenant_id == scope.tenant_id, PlayerRow.player_id == player_id)
        .with_for_update(key_share=True)
    )


async def fetch_public_ids(session: AsyncSession, scope: TenantScope, player_ids: Collection[int]) -> dict[int, UUID]:
    """Return the public ids of players by number; unknown ones are not in the answer."""
    rows = await session.execute(
        select(PlayerRow.player_id, PlayerRow.public_id).where(
            PlayerRow.tenant_id == scope.tenant_id, PlayerRow.player_id.in_(player_ids)
        )
    )
    return {row.player_id: row.public_id for row in rows}


async def fetch_player_by_public_id(
    session: AsyncSession, scope: TenantScope, public_id: UUID, *, lock: bool
) -> Player | None:
    """Return a player by the id that leaves the cell, locked against other changes where asked."""
    statement = select(PlayerRow).where(PlayerRow.tenant_id == scope.tenant_id, PlayerRow.public_id == public_id)
    row = await session.scalar(statement.with_for_update(key_share=True) if lock else statement)
    return None if row is None else _player(row)


async def fetch_inactive_numbers(session: AsyncSession, scope: TenantScope) -> list[int]:
    """Return the numbers of all players who are not active."""
    statement = select(PlayerRow.player_id).where(
        PlayerRow.tenant_id == scope.tenant_id, PlayerRow.status != int(PlayerStatus.ACTIVE)
    )
    return list(await session.scalars(statement))


async def count_players(session: AsyncSession, scope: TenantScope, brand: str) -> int:
    """Return how many player accounts a brand has, closed ones too."""
    statement = select(func.count()).where(PlayerRow.tenant_id == scope.tenant_id, PlayerRow.brand == brand)
    return int(await session.scalar(statement) or 0)


async def count_licences(session: AsyncSession, scope: TenantScope) -> dict[str, int]:
    """Return how many players are under each licence, closed ones too."""
    statement = select(PlayerRow.licence, func.count()).where(PlayerRow.tenant_id == scope.tenant_id)
    rows = await session.execute(statement.group_by(PlayerRow.licence))
    return dict(iter(rows))


async def fetch_licences_beside(session: AsyncSession, scope: TenantScope, usual: str) -> dict[int, str]:
    """Return the licences of the players who are not under the usual one, by their numbers."""
    statement = select(PlayerRow.player_id, PlayerRow.licence)
    found = await session.execute(statement.where(PlayerRow.tenant_id == scope.tenant_id, PlayerRow.licence != usual))
    return dict(iter(found))


async def fetch_identity(session: AsyncSession, scope: TenantScope, player_id: int) -> dict[str, bytes] | None:
    """Return the sealed values of a player, by column."""
    row = PlayerIdentityRow
    columns = [getattr(row, column) for column in IDENTITY_COLUMNS]
    found = await session.execute(select(*columns).where(row.tenant_id == scope.tenant_id, row.player_id == player_id))
    sealed = found.one_or_none()
    return None if sealed is None else dict(zip(IDENTITY_COLUMNS, sealed, strict=True))


async def fetch_credential(
    session: AsyncSession, scope: TenantScope, brand: str, email_index: bytes
) -> tuple[int, str] | None:
    """Return player id and password hash of a brand's account with this address."""
    row = (
        await session.execute(
            select(PlayerCredentialRow.player_id, PlayerCredentialRow.password_hash)
            .join(
                PlayerIdentityRow,
                (PlayerIdentityRow.tenant_id == PlayerCredentialRow.tenant_id)
                & (PlayerIdentityRow.player_id == PlayerCredentialRow.player_id),
            )
            .where(
                PlayerIdentityRow.tenant_id == scope.tenant_id,
                PlayerIdentityRow.brand == brand,
                PlayerIdentityRow.email_index == email_index,
            )
        )
    ).one_or_none()
    return None if row is None else (row[0], row[1])


async def update_identity(
    session: AsyncSession, scope: TenantScope, player_id: int, sealed: Mapping[str, bytes]
) -> None:
    """Replace sealed values of a player, by column."""
    row = PlayerIdentityRow
    await session.execute(
        update(row).where(row.tenant_id == scope.tenant_id, row.player_id == player_id).values(dict(sealed))
    )


async def delete_person(session: AsyncSession, scope: TenantScope, player_id: int) -> dict[str, int]:
    """Delete every row that says who a player is or lets them in; return how many by table."""
    removed: dict[str, int] = {}
    for row in (PlayerIdentityRow, PlayerCredentialRow, PlayerSessionRow, PasswordResetRow):
        gone = await session.scalars(
            delete(row).where(row.tenant_id == scope.tenant_id, row.player_id == player_id).returning(row.player_id)
        )
        removed[row.__tablename__] = len(gone.all())
    return removed


async def update_password(session: AsyncSession, scope: TenantScope, player_id: int, password_hash: str) -> None:
    """Replace a player's password hash."""
    await session.execute(
        update(PlayerCredentialRow)
        .where(PlayerCredentialRow.tenant_id == scope.tenant_id, PlayerCredentialRow.player_id == player_id)
        .values(password_hash=password_hash, changed_at=func.now())
    )


async def update_status(
    session: AsyncSession, scope: TenantScope, player_id: int, status: PlayerStatus, reason: str
) -> Player:
    """Set a player's status and return the player."""
    values: dict[str, object] = {"status": int(status), "status_reason": reason}
    if status is PlayerStatus.CLOSED:
        values["closed_at"] = func.now()
    row = (
        await session.scalars(
            update(PlayerRow)
            .where(PlayerRow.tenant_id == scope.tenant_id, PlayerRow.player_id == player_id)
            .values(values)
            .returning(PlayerRow),
            execution_options={"populate_existing": True},
        )
    ).one()
    return _player(row)


async def charge_attempt(session: AsyncSession, scope: TenantScope, key: bytes, *, burst: int, step: timedelta) -> bool:
    """Take one attempt from the allowance of `key`; False when it is used up.

    The allowance is `burst` attempts and grows by one each `step`. One statement decides and counts (GCRA),
    so any number of simultaneous attempts gets exactly what is allowed.
    """
    now = func.clock_timestamp()
    statement = insert(AttemptThrottleRow).values(tenant_id=scope.tenant_id, key=key, paid_until=now + step)
    charged = await session.scalar(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "key"],
            set_={"paid_until": func.greatest(AttemptThrottleRow.paid_until, now) + step},
            where=AttemptThrottleRow.paid_until <= now + step * (burst - 1),
        ).returning(AttemptThrottleRow.paid_until)
    )
    return charged is not None


async def refund_attempts(session: AsyncSession, scope: TenantScope, keys: Sequence[bytes]) -> None:
    """Give the whole allowance of `keys` back."""
    await session.execute(
        delete(AttemptThrottleRow).where(
            AttemptThrottleRow.tenant_id == scope.tenant_id, AttemptThrottleRow.key.in_(keys)
        )
    )


async def insert_session(
    session: AsyncSession, scope: TenantScope, player_id: int, token_hash: bytes, lifetime: timedelta
) -> datetime:
    """Insert a session and return when it ends at the latest."""
    expires_at = await session.scalar(
        insert(PlayerSessionRow)
        .values(tenant_id=scope.tenant_id, token_hash=token_hash, player_id=player_id, expires_at=func.now() + lifetime)
        .returning(PlayerSessionRow.expires_at)
    )
    if expires_at is None:
        raise AssertionError("an insert returns its row")
    return expires_at


async def fetch_session(session: AsyncSession, scope: TenantScope, token_hash: bytes) -> PlayerSession | None:
    """Return a session that is in force, and note its use."""
    found = (
        await session.execute(
            select(PlayerSessionRow, PlayerRow)
            .join(
                PlayerRow,
                (PlayerRow.tenant_id == PlayerSessionRow.tenant_id)
                & (PlayerRow.player_id == PlayerSessionRow.player_id),
            )
            .where(
                PlayerSessionRow.tenant_id == scope.tenant_id,
                PlayerSessionRow.token_hash == token_hash,
                PlayerSessionRow.expires_at > func.now(),
                PlayerSessionRow.last_seen_at > func.now() - SESSION_IDLE,
                PlayerRow.status == int(PlayerStatus.ACTIVE),
            )
        )
    ).one_or_none()
    if found is None:
        return None
    row, player = found
    await session.execute(
        update(PlayerSessionRow)
        .where(
            PlayerSessionRow.tenant_id == scope.tenant_id,
            PlayerSessionRow.token_hash == token_hash,
            PlayerSessionRow.last_seen_at < func.now() - _SEEN_STEP,
        )
        .values(last_seen_at=func.now())
    )
    return PlayerSession(_player(player), row.token_hash, row.expires_at)


async def delete_session(session: AsyncSession, scope: TenantScope, token_hash: bytes) -> bool:
    """End one session; False when there was none."""
    ended = await session.scalar(
        delete(PlayerSessionRow)
        .where(PlayerSessionRow.tenant_id == scope.tenant_id, PlayerSessionRow.token_hash == token_hash)
        .returning(PlayerSessionRow.player_id)
    )
    return ended is not None


async def delete_player_sessions(session: AsyncSession, scope: TenantScope, player_id: int) -> None:
    """End all sessions of a player."""
    await session.execute(
        delete(PlayerSessionRow).where(
            PlayerSessionRow.tenant_id == scope.tenant_id, PlayerSessionRow.player_id == player_id
        )
    )


async def insert_reset(
    session: AsyncSession, scope: TenantScope, player_id: int, token_hash: bytes, lifetime: timedelta
) -> None:
    """Insert a reset token."""
    await session.execute(
        insert(PasswordResetRow).values(
            tenant_id=scope.tenant_id, token_hash=token_hash, player_id=player_id, expires_at=func.now() + lifetime
        )
    )


async def fetch_reset_player(session: AsyncSession, scope: TenantScope, token_hash: bytes) -> Player | None:
    """Return whose reset token this is, locked, while it is unused and not expired and the account not closed."""
    row = await session.scalar(
        select(PlayerRow)
        .join(
            PasswordResetRow,
            (PasswordResetRow.tenant_id == PlayerRow.tenant_id) & (PasswordResetRow.player_id == PlayerRow.player_id),
        )
        .where(
            PasswordResetRow.tenant_id == scope.tenant_id,
            PasswordResetRow.token_hash == token_hash,
            PasswordResetRow.used_at.is_(None),
            PasswordResetRow.expires_at > func.now(),
            PlayerRow.status != int(PlayerStatus.CLOSED),
        )
        .with_for_update(of=PasswordResetRow)
    )
    return None if row is None else _player(row)


async def use_resets(session: AsyncSession, scope: TenantScope, player_id: int) -> None:
    """Use up all open reset tokens of a player."""
    await session.execute(
        update(PasswordResetRow)
        .where(
            PasswordResetRow.tenant_id == scope.tenant_id,
            PasswordResetRow.player_id == player_id,
            PasswordResetRow.used_at.is_(None),
        )
        .values(used_at=func.now())
    )


async def prune(session: AsyncSession, scope: TenantScope, *, keep_resets: timedelta) -> int:
    """Delete sessions that are over, old reset tokens and full allowances; return how many sessions there were."""
    ended = await session.scalars(
        delete(PlayerSessionRow)
        .where(
            PlayerSessionRow.tenant_id == scope.tenant_id,
            or_(
                PlayerSessionRow.expires_at <= func.now(),
                PlayerSessionRow.last_seen_at <= func.now() - SESSION_IDLE,
            ),
        )
        .returning(PlayerSessionRow.player_id)
    )
    await session.execute(
        delete(PasswordResetRow).where(
            PasswordResetRow.tenant_id == scope.tenant_id, PasswordResetRow.expires_at <= func.now() - keep_resets
        )
    )
    await session.execute(
        delete(AttemptThrottleRow).where(
            AttemptThrottleRow.tenant_id == scope.tenant_id, AttemptThrottleRow.paid_until <= func.now()
        )
    )
    return len(ended.all())
