"""The operators' API on the audit log."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from pitboss.audit import service as audit
from pitboss.audit.contracts import EventFilter, RecordedEvent
from pitboss.kernel.paging import DEFAULT_PAGE_SIZE
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import Database
from pitboss.web.controllers.players import BEARER, Cursor, PageSize, problems
from pitboss.web.reading import Reading

_MAX_WORD = 200
EventTypeName = Annotated[
    str, QueryParameter(name="type", max_length=_MAX_WORD, description="A type of event, such as `player.closed`")
]
Target = Annotated[str, QueryParameter(max_length=_MAX_WORD, description="A type, or type and id: `player:0190…`")]
ActorName = Annotated[
    str, QueryParameter(name="actor", max_length=_MAX_WORD, description="A kind, or kind and name: `operator:ada`")
]
Since = Annotated[datetime | None, QueryParameter(description="The first moment, with its time zone")]
Until = Annotated[datetime | None, QueryParameter(description="The moment after the last, with its time zone")]


class EventsView(msgspec.Struct, frozen=True):
    """Some of the audit log, newest first."""

    items: list[RecordedEvent]
    next_cursor: str | None


class AuditController(Controller):
    """What happened to the tenant behind the host name, and who did it."""

    path = "/operator/audit-events"
    tags = ("Operators",)
    security = BEARER

    @get(permission="audit.event.view", reads="staff opaque", responses=problems(401, 403, 422))
    async def list_events(
        self,
        tenant: NamedDependency[TenantScope],
        database: NamedDependency[Database],
        reading: NamedDependency[Reading],
        event_type: EventTypeName = "",
        target: Target = "",
        by: ActorName = "",
        since: Since = None,
        until: Until = None,
        cursor: Cursor = None,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
    ) -> EventsView:
        """List the audit log, newest first. Filters may be combined; what matches no possible event is refused."""
        wanted = EventFilter(event_type, target, by, since, until)
        async with database.transaction(tenant) as session:
            page = await audit.list_events(session, tenant, wanted, cursor=cursor, page_size=page_size)
            ids = [str(found.event_id) for found in page.items]
            await reading.record(session, tenant, "audit.viewed", tenant.slug, ids)
        return EventsView(page.items, page.next_cursor)
