"""The audit log in real databases: grows, never changes, belongs to its tenant, refuses what it does not know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, JADE, open_cell

from pitboss.audit.contracts import MASK, AuditEvent, Change, EventFilter, Outcome
from pitboss.audit.errors import UnknownEventType
from pitboss.audit.service import list_control_events, list_events, record_control_event, record_event
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.paging import InvalidCursor
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.platform.db import ControlDatabase, Database, create_engine

ACTOR = Actor(ActorKind.OPERATOR, "operator")
ORIGIN = Origin(request_id="r-1", ip="192.0.2.7", user_agent_hash="ab", causation_id="c-1")


def event(target_id: str, event_type: str = "player.status_changed", target_type: str = "player") -> AuditEvent:
    changes = (Change("status", "active", "suspended"), Change("identity.email", "a@example.com", "b@example.com"))
    return AuditEvent(event_type, ACTOR, ORIGIN, target_type, target_id, changes, reason="operator_review")


@pytest.fixture
async def cell(module_cell_database: PlaneDatabase) -> AsyncIterator[Database]:
    async with open_cell(module_cell_database) as database:
        yield database


@pytest.fixture
async def control(module_control_database: PlaneDatabase) -> AsyncIterator[ControlDatabase]:
    engine = create_engine(module_control_database.app_url)
    yield ControlDatabase(engine)
    await engine.dispose()


async def record(cell: Database, scope: TenantScope, found: AuditEvent) -> None:
    async with cell.transaction(scope) as session:
        await record_event(session, scope, found)


async def test_an_event_is_read_as_it_was_written_but_for_what_is_personal(cell: Database) -> None:
    target = str(new_uuid())
    await record(cell, AURORA, event(target))
    async with cell.transaction(AURORA) as session:
        (found,) = (await list_events(session, AURORA, EventFilter(target=f"player:{target}"))).items
        now = (await session.execute(text("select now()"))).scalar_one()
    assert (found.type, found.category, found.outcome, found.reason) == (
        "player.status_changed",
        "user_action",
        Outcome.SUCCESS,
        "operator_review",
    )
    assert (found.actor, found.request_id, found.causation_id) == (ACTOR, "r-1", "c-1")
    assert ORIGIN.ip not in str(found)
    assert found.changes == (Change("status", "active", "suspended"), Change("identity.email", MASK, MASK))
    assert 0 <= (now - found.occurred_at).total_seconds() < 60


@pytest.mark.parametrize(
    ("kind", "event_type", "target_type", "kept"),
    [
        (ActorKind.PLAYER, "player.registered", "player", ""),
        (ActorKind.PLAYER, "player.sign_in_failed", "player", ""),
        (ActorKind.OPERATOR, "player.status_changed", "player", ORIGIN.ip),
        (ActorKind.PLAYER, "token.refused", "refusal", ORIGIN.ip),
    ],
)
async def test_no_row_keeps_the_address_of_a_player(
    cell: Database, kind: ActorKind, event_type: str, target_type: str, kept: str
) -> None:
    """It would stand in the row, and in every backup, when the player is erased."""
    target = str(new_uuid())
    await record(cell, AURORA, AuditEvent(event_type, Actor(kind, "who"), ORIGIN, target_type, target))
    query = text("select origin from audit_event where target_id = :target")
    async with cell.transaction(AURORA) as session:
        (origin,) = (await session.execute(query, {"target": target})).scalars()
    assert (origin["ip"], origin["user_agent_hash"], origin["request_id"]) == (kept, "ab", "r-1")


@pytest.mark.parametrize(
    "wrong", [event("1", "player.teleported"), event("1", "player.closed", "tenant"), event("1", "")]
)
async def test_an_unknown_type_is_refused_and_takes_its_change_with_it(cell: Database, wrong: AuditEvent) -> None:
    target = str(new_uuid())

    async def change_and_record() -> None:
        async with cell.transaction(AURORA) as session:
            await record_event(session, AURORA, event(target))
            await record_event(session, AURORA, wrong)

    with pytest.raises(UnknownEventType):
        await change_and_record()
    async with cell.transaction(AURORA) as session:
        assert (await list_events(session, AURORA, EventFilter(target=f"player:{target}"))).items == []


async def test_another_tenants_log_is_not_there(cell: Database) -> None:
    target = str(new_uuid())
    await record(cell, AURORA, event(target))
    async with cell.transaction(JADE) as session:
        assert (await list_events(session, JADE, EventFilter(target=f"player:{target}"))).items == []
        assert (await list_events(session, AURORA, EventFilter(target=f"player:{target}"))).items == []
    with pytest.raises(DBAPIError, match="row-level security"):
        async with cell.transaction(JADE) as session:
            await record_event(session, AURORA, event(target))


STATEMENTS = ["update audit_event set reason = ''", "delete from audit_event", "truncate audit_event"]


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("login", ["app_url", "worker_url"])
async def test_no_login_rewrites_a_cells_log(module_cell_database: PlaneDatabase, login: str, statement: str) -> None:
    async with open_cell(module_cell_database, getattr(module_cell_database, login)) as cell:
        await record(cell, AURORA, event("x"))
        with pytest.raises(DBAPIError, match="permission denied"):
            async with cell.transaction(AURORA) as session:
                await session.execute(text(statement))


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("plane", ["cell", "control"])
async def test_the_guard_holds_for_the_administrator(
    module_cell_database: PlaneDatabase,
    module_control_database: PlaneDatabase,
    cell: Database,
    control: ControlDatabase,
    plane: str,
    statement: str,
) -> None:
    await record(cell, AURORA, event("y"))
    async with control.transaction() as session:
        await record_control_event(session, event("y", "tenant.updated", "tenant"))
    url = (module_cell_database if plane == "cell" else module_control_database).admin_url
    admin = create_engine(url)
    try:
        async with admin.connect() as connection:
            before = (await connection.execute(text("select count(*) from audit_event"))).scalar_one()
        assert before > 0
        with pytest.raises(DBAPIError, match="append-only"):
            async with admin.begin() as connection:
                await connection.execute(text(statement))
        async with admin.connect() as connection:
            assert (await connection.execute(text("select count(*) from audit_event"))).scalar_one() == before
    finally:
        await admin.dispose()


async def test_pages_continue_without_gap_or_repetition(cell: Database) -> None:
    target = str(new_uuid())
    for _ in range(7):
        await record(cell, AURORA, event(target))
    seen: list[str] = []
    cursor: str | None = None
    async with cell.transaction(AURORA) as session:
        while True:
            page = await list_events(
                session, AURORA, EventFilter(target=f"player:{target}"), cursor=cursor, page_size=3
            )
            seen += [str(item.event_id) for item in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert len(seen) == 7
    assert seen == sorted(set(seen), reverse=True)


@pytest.mark.parametrize("cursor", ["", "x", "W10", "WzFd", "A" * 500])
async def test_a_made_up_cursor_is_refused(cell: Database, cursor: str) -> None:
    async with cell.transaction(AURORA) as session:
        with pytest.raises(InvalidCursor):
            await list_events(session, AURORA, cursor=cursor)


async def test_control_has_a_log_of_its_own(control: ControlDatabase) -> None:
    target = str(new_uuid())
    async with control.transaction() as session:
        await record_control_event(session, event(target, "tenant.updated", "tenant"))
        with pytest.raises(UnknownEventType):
            await record_control_event(session, event(target, "tenant.vanished", "tenant"))
    async with control.transaction() as session:
        (found,) = (await list_control_events(session, EventFilter(target=f"tenant:{target}"))).items
    assert (found.type, found.category, found.changes[1]) == (
        "tenant.updated",
        "config_change",
        Change("identity.email", MASK, MASK),
    )


async def find(cell: Database, wanted: EventFilter, page_size: int = 50) -> list[tuple[str, str]]:
    """Return type and target id of all matching events, page by page."""
    found: list[tuple[str, str]] = []
    cursor: str | None = None
    async with cell.transaction(AURORA) as session:
        while True:
            page = await list_events(session, AURORA, wanted, cursor=cursor, page_size=page_size)
            found += [(item.type, item.target_id) for item in page.items]
            if page.next_cursor is None:
                return found
            cursor = page.next_cursor


async def test_filters_narrow_alone_and_together(cell: Database) -> None:
    one, other = f"{new_uuid()}:deposit:day", str(new_uuid())
    closed = msgspec.structs.replace(event(other, "player.closed"), actor=Actor(ActorKind.DEPLOYMENT, f"ada-{other}"))
    await record(cell, AURORA, event(one, "limit.set", "limit"))
    await record(cell, AURORA, event(other))
    await record(cell, AURORA, closed)
    assert await find(cell, EventFilter(target=f"limit:{one}")) == [("limit.set", one)]
    both = [("player.closed", other), ("player.status_changed", other)]
    assert await find(cell, EventFilter(target=f"player:{other}")) == both
    assert await find(cell, EventFilter(target=f"player:{other}", type="player.closed")) == both[:1]
    assert await find(cell, EventFilter(actor=f"deployment:ada-{other}")) == both[:1]
    assert await find(cell, EventFilter(actor="operator", target=f"player:{other}")) == both[1:]
    assert await find(cell, EventFilter(actor="provider")) == []
    of_limits = await find(cell, EventFilter(target="limit"))
    assert ("limit.set", one) in of_limits
    assert {kind for kind, _ in of_limits} == {"limit.set"}


async def insert_at(database: PlaneDatabase, target: str, moments: list[datetime]) -> None:
    """Write events of given moments, as only the administrator can."""
    admin = await asyncpg.connect(database.admin_url)
    try:
        for moment in moments:
            await admin.execute(
                "insert into audit_event (tenant_id, event_id, occurred_at, category, type, outcome, reason, actor_kind,"
                " actor_name, origin, target_type, target_id, changes) values (1, $1, $2, 'security', 'player.signed_in',"
                """ 'success', '', 'player', 'p', '{"request_id": "", "causation_id": ""}', 'player', $3, '[]')""",
                new_uuid(),
                moment,
                target,
            )
    finally:
        await admin.close()


async def test_a_span_holds_its_beginning_and_not_its_end(cell: Database, module_cell_database: PlaneDatabase) -> None:
    target, noon, tick = str(new_uuid()), datetime(2026, 3, 1, 12, tzinfo=UTC), timedelta(microseconds=1)
    await insert_at(module_cell_database, target, [noon - tick, noon, noon + tick])
    of = f"player:{target}"

    async def count(since: datetime | None, until: datetime | None) -> int:
        return len(await find(cell, EventFilter(target=of, since=since, until=until)))

    assert await count(noon, None) == 2
    assert await count(None, noon) == 1
    assert await count(noon, noon + tick) == 1
    elsewhere = noon.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert await count(elsewhere, elsewhere + tick) == 1


async def test_events_of_one_moment_are_neither_lost_nor_repeated(
    cell: Database, module_cell_database: PlaneDatabase
) -> None:
    target, noon = str(new_uuid()), datetime(2026, 3, 2, 12, tzinfo=UTC)
    await insert_at(module_cell_database, target, [noon] * 7)
    async with cell.transaction(AURORA) as session:
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(4):
            page = await list_events(
                session, AURORA, EventFilter(target=f"player:{target}"), cursor=cursor, page_size=2
            )
            seen += [str(item.event_id) for item in page.items]
            cursor = page.next_cursor
    assert cursor is None
    assert (len(seen), len(set(seen))) == (7, 7)
    assert seen == sorted(seen, reverse=True)
