"""What measures of data quality read of the audit log: which events of a span have their place, and how soon it was proved."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import WRITES, LogFacts
from pitboss.kernel.scope import TenantScope

# The fences (`offset 0`) keep each a look-up for an event, whatever the statistics say of tables that grow.
_EVENTS: Final = """
with span as materialized (
    select event_id, occurred_at, type in (select unnest(cast(:writes as text[]))) and outcome = 'success' as telling
    from audit_event where tenant_id = :tenant_id and occurred_at >= :since and occurred_at < :until
), placed as materialized (
    select s.*, e.log_seq from span s
    left join lateral (select log_seq from audit_entry e where e.tenant_id = :tenant_id and e.event_id = s.event_id
        offset 0) e on true
)
select count(*), count(*) filter (where telling), count(*) filter (where log_seq is null),
    coalesce((array_agg(event_id::text order by occurred_at) filter (where log_seq is null))[1:100], '{}'),
    min(log_seq), max(log_seq),
    count(*) filter (where c.made_at is null or c.made_at - occurred_at > :bound)
from placed p
left join lateral (select made_at from audit_checkpoint c where c.tenant_id = :tenant_id and c.size > p.log_seq
    order by c.size limit 1) c on true
"""
_ENTRIES: Final = """
select count(*), count(distinct event_id) from audit_entry
where tenant_id = :tenant_id and log_seq between :first and :last
"""


async def find_log_facts(
    session: AsyncSession, scope: TenantScope, since: datetime, until: datetime, bound: timedelta
) -> LogFacts:
    """Return what the log made of the events from `since` up to `until`, proved in time if within `bound`."""
    values = {"tenant_id": scope.tenant_id, "since": since, "until": until, "bound": bound, "writes": list(WRITES)}
    row = (await session.execute(text(_EVENTS), values)).one()
    events, telling, missing, unlogged, first, last, late = row
    facts = LogFacts(events, telling, missing, tuple(unlogged), late=late)
    if first is None:
        return facts
    values = {"tenant_id": scope.tenant_id, "first": first, "last": last}
    entries, told = (await session.execute(text(_ENTRIES), values)).one()
    return LogFacts(events, telling, missing, facts.unlogged, last - first + 1, entries, told, late)
