"""Commands that show what is held of players leave an audit event before they show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import Access
from pitboss.audit.service import record_access
from pitboss.kernel.classes import Sort
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.permissions.service import deployment_actor
from pitboss.platform.db import Database


async def record_shown(
    session: AsyncSession, scope: TenantScope, event_type: str, target_id: str, access: Access
) -> None:
    """Write that who runs this process is shown data, in the transaction that reads it."""
    await record_access(session, scope, event_type, target_id, access, actor=deployment_actor(), origin=Origin())


async def record_export(
    database: Database,
    scope: TenantScope,
    event_type: str,
    target_id: str,
    ids: Sequence[str],
    *,
    mode: Literal["export", "reveal"] = "export",
    sorts: tuple[Sort, ...] = ("staff", "opaque"),
    query: Mapping[str, object] = {},
) -> None:
    """Write that evidence is given out, in a transaction of its own that ends before it is read.

    What is given out is read at one moment, in a transaction that cannot write.
    """
    asked = {name: str(value) for name, value in query.items() if value is not None}
    async with database.transaction(scope) as session:
        await record_shown(session, scope, event_type, target_id, Access(mode, sorts, tuple(ids), query=asked))
