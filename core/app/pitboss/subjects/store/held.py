"""Reads every table that holds something of a subject, by what the tables say of themselves.

This is the one place that reads other rooms' tables: an export that each room had to be asked for would miss the room
that was forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import MetaData, Table, Uuid, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import LargeBinary

from pitboss.kernel.scope import TenantScope
from pitboss.subjects.contracts import ColumnShape, Row, Subject, TableShape

_WALLET = "wallet"


def list_shapes(metadata: MetaData) -> list[TableShape]:
    """Return the tables of tenants as far as an export has to know them."""
    tables = sorted(metadata.tables.values(), key=lambda found: found.name)
    return [_shape(table) for table in tables if table.info.get("tenant", True)]


def _shape(table: Table) -> TableShape:
    sorts = table.info["columns"]
    return TableShape(
        str(table.name),
        tuple(
            ColumnShape(
                name=str(column.name),
                sort=sorts[column.name][0],
                is_key=column.primary_key,
                is_uuid=isinstance(column.type, Uuid),
                is_bytes=isinstance(column.type, LargeBinary),
            )
            for column in table.columns
        ),
    )


async def fetch_wallet_ids(
    session: AsyncSession, scope: TenantScope, metadata: MetaData, player_id: int
) -> tuple[int, ...]:
    """Return the numbers of a player's wallets."""
    wallet = metadata.tables[_WALLET].c
    found = await session.scalars(
        select(wallet.wallet_id)
        .where(wallet.tenant_id == scope.tenant_id, wallet.player_id == player_id)
        .order_by(wallet.wallet_id)
    )
    return tuple(found)


async def fetch_rows(
    session: AsyncSession, scope: TenantScope, table: Table, column: str, values: Collection[int | UUID]
) -> Sequence[Row]:
    """Return the rows of a table that name one of `values`, without the columns that the caller may not see."""
    if not values:
        return []
    told = [each for each in table.columns if table.info["columns"][each.name][0] != "credential"]
    query = select(*told).where(table.c.tenant_id == scope.tenant_id, table.c[column].in_(values))
    found = await session.execute(query.order_by(*table.primary_key.columns) if _may_order(table) else query)
    return [{str(name): value for name, value in row.items()} for row in found.mappings()]


def _may_order(table: Table) -> bool:
    return all(table.info["columns"][each.name][0] != "credential" for each in table.primary_key.columns)


async def fetch_event_rows(
    session: AsyncSession,
    scope: TenantScope,
    table: Table,
    subject: Subject,
    whole: Collection[str],
    beginnings: Collection[str],
) -> Sequence[Row]:
    """Return audit events that are about the subject, or that the subject caused, oldest first."""
    event = table.c
    by_subject = and_(event.actor_kind == "player", event.actor_name == str(subject.public_id))
    of_limits = and_(event.target_type == "limit", func.split_part(event.target_id, ":", 1).in_(beginnings))
    found = await session.execute(
        select(table)
        .where(event.tenant_id == scope.tenant_id, or_(by_subject, event.target_id.in_(whole), of_limits))
        .order_by(event.occurred_at, event.event_id)
    )
    return [{str(name): value for name, value in row.items()} for row in found.mappings()]
