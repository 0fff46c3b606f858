"""Every SQL statement of the plugin host."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.clock import from_microseconds, to_microseconds
from pitboss.plughost.contracts import Enablement, ParkedWebhook, Settled, StoredWebhook, Webhook, WebhookState
from pitboss.plughost.tables import PluginEnablementRow, WebhookObjectRow, WebhookRow
from pitboss_sdk.webhooks import Accepted, RawWebhook


async def fetch_enablements(session: AsyncSession, tenant_id: int) -> list[Enablement]:
    """Return a tenant's plugins, enabled or not, by slug."""
    rows = await session.scalars(
        select(PluginEnablementRow)
        .where(PluginEnablementRow.tenant_id == tenant_id)
        .order_by(PluginEnablementRow.slug)
        .execution_options(populate_existing=True)
    )
    return [_enablement(row) for row in rows]


async def find_enablement(
    session: AsyncSession, tenant_id: int, slug: str, *, for_update: bool = False
) -> Enablement | None:
    """Return one plugin of a tenant, locked against another change where asked."""
    query = (
        select(PluginEnablementRow)
        .where(PluginEnablementRow.tenant_id == tenant_id, PluginEnablementRow.slug == slug)
        .execution_options(populate_existing=True)
    )
    row = await session.scalar(query.with_for_update() if for_update else query)
    return None if row is None else _enablement(row)


async def insert_enablement(session: AsyncSession, tenant_id: int, slug: str, values: dict[str, Any]) -> bool:
    """Write a tenant's first row for a plugin; False when another transaction wrote it before."""
    statement = insert(PluginEnablementRow).values(tenant_id=tenant_id, slug=slug, **values)
    inserted = await session.execute(statement.on_conflict_do_nothing().returning(PluginEnablementRow.slug))
    return inserted.first() is not None


async def update_enablement(session: AsyncSession, tenant_id: int, slug: str, values: dict[str, Any]) -> None:
    """Write a tenant's plugin as it is to be from now on."""
    await session.execute(
        update(PluginEnablementRow)
        .where(PluginEnablementRow.tenant_id == tenant_id, PluginEnablementRow.slug == slug)
        .values(**values, updated_at=func.clock_timestamp())
    )


async def insert_webhook(session: AsyncSession, tenant_id: int, webhook: Webhook) -> bool:
    """Write a webhook; False when one with its id is there: another transaction that writes it now is waited for."""
    raw, accepted = webhook.raw, webhook.accepted
    statement = insert(WebhookRow).values(
        tenant_id=tenant_id,
        plugin=webhook.plugin,
        event_id=accepted.event_id,
        received_at=from_microseconds(raw.received_at_us),
        sent_at=None if accepted.sent_at_us is None else from_microseconds(accepted.sent_at_us),
        sequence=accepted.sequence,
        object_id=accepted.object_id,
        state=int(WebhookState.STORED),
        method=raw.method,
        path=raw.path,
        headers=dict(raw.headers),
        body=raw.body,
    )
    inserted = await session.execute(statement.on_conflict_do_nothing().returning(WebhookRow.event_id))
    return inserted.first() is not None


async def take_webhook(session: AsyncSession, tenant_id: int, plugin: str, event_id: str) -> StoredWebhook | None:
    """Return a webhook, locked until the transaction ends."""
    row = await session.scalar(
        select(WebhookRow)
        .where(WebhookRow.tenant_id == tenant_id, WebhookRow.plugin == plugin, WebhookRow.event_id == event_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        return None
    sent_at_us = None if row.sent_at is None else to_microseconds(row.sent_at)
    raw = RawWebhook(row.method, row.path, row.headers, row.body, to_microseconds(row.received_at))
    accepted = Accepted(row.event_id, sent_at_us, row.object_id, row.sequence)
    return StoredWebhook(Webhook(row.plugin, raw, accepted), WebhookState(row.state), row.attempts, row.reason)


async def update_webhook(
    session: AsyncSession, tenant_id: int, plugin: str, event_id: str, settled: Settled, attempts: int
) -> None:
    """Write what became of a webhook."""
    is_over = settled.state is not WebhookState.STORED
    await session.execute(
        update(WebhookRow)
        .where(WebhookRow.tenant_id == tenant_id, WebhookRow.plugin == plugin, WebhookRow.event_id == event_id)
        .values(
            state=int(settled.state),
            reason=settled.reason,
            attempts=attempts,
            settled_at=func.clock_timestamp() if is_over else None,
        )
    )


async def advance_object(session: AsyncSession, tenant_id: int, plugin: str, object_id: str, sequence: int) -> bool:
    """Note the newest event of an object; False, and nothing is noted, when it is not above the last one."""
    statement = insert(WebhookObjectRow).values(
        tenant_id=tenant_id, plugin=plugin, object_id=object_id, sequence=sequence
    )
    advanced = await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "plugin", "object_id"],
            set_={"sequence": statement.excluded.sequence},
            where=WebhookObjectRow.sequence < statement.excluded.sequence,
        ).returning(WebhookObjectRow.sequence)
    )
    return advanced.first() is not None


async def list_parked(
    session: AsyncSession, tenant_id: int, plugin: str | None, event_id: str | None, most: int
) -> list[ParkedWebhook]:
    """Return parked webhooks of a tenant, the oldest first; of one plugin or with one id where given."""
    shown = (WebhookRow.plugin, WebhookRow.event_id, WebhookRow.received_at, WebhookRow.attempts, WebhookRow.reason)
    query = select(*shown).where(WebhookRow.tenant_id == tenant_id, WebhookRow.state == int(WebhookState.PARKED))
    if plugin is not None:
        query = query.where(WebhookRow.plugin == plugin)
    if event_id is not None:
        query = query.where(WebhookRow.event_id == event_id)
    ordered = query.order_by(WebhookRow.received_at, WebhookRow.plugin, WebhookRow.event_id).limit(most)
    return [ParkedWebhook(*row) for row in (await session.execute(ordered)).tuples()]


async def count_parked(session: AsyncSession, tenant_id: int) -> dict[str, int]:
    """Return how many webhooks of each plugin are parked."""
    rows = await session.execute(
        select(WebhookRow.plugin, func.count())
        .where(WebhookRow.tenant_id == tenant_id, WebhookRow.state == int(WebhookState.PARKED))
        .group_by(WebhookRow.plugin)
    )
    return {row[0]: row[1] for row in rows}


def _enablement(row: PluginEnablementRow) -> Enablement:
    return Enablement(
        slug=row.slug,
        kind=row.kind,
        distribution=row.distribution,
        version=row.version,
        config=row.config,
        config_version=row.config_version,
        enabled=row.enabled,
        updated_at=row.updated_at,
    )
