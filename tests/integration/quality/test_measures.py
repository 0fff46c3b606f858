"""Every dimension of every area turns red by a planted fault, and green again when it is mended."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from tests.factories.captures import reconcile_cell
from tests.factories.databases import PlaneDatabase
from tests.integration.quality.conftest import WORKER, Records, leave_open

from pitboss.kernel.clock import utc_now
from pitboss.quality import service as quality
from pitboss.quality.contracts import Area, Dimension, FindingKind, State

Spoil = Callable[[Records], Awaitable[None]]
ROUNDS, PAYMENTS, AUDIT = Area.ROUNDS, Area.PAYMENTS, Area.AUDIT
COMPLETENESS, UNIQUENESS = Dimension.COMPLETENESS, Dimension.UNIQUENESS
CONSISTENCY, TIMELINESS = Dimension.CONSISTENCY, Dimension.TIMELINESS


def sql(statement: str) -> Spoil:
    """Return what runs a statement for the tenant, past every trigger."""

    async def run(records: Records) -> None:
        await records.run(statement, records.scope.tenant_id)

    return run


async def book_twice(records: Records) -> None:
    """The same external id is booked once more, as no posting could."""
    records.balance -= 500
    records.version += 1
    await records.run(
        "insert into journal (tenant_id, wallet_id, version, batch_id, d_real, d_bonus, d_held, d_debt, real_after,"
        " bonus_after, held_after, debt_after, created_at, account_id, source_id, op, reference)"
        " select tenant_id, wallet_id, $2::bigint, batch_id, d_real, 0, 0, 0, $3::bigint, 0, 0, 0, created_at,"
        " account_id, source_id, op, reference from journal where tenant_id = $1 and reference = 'r0-bet'",
        records.scope.tenant_id,
        records.version,
        records.balance,
    )


async def order_only(records: Records) -> None:
    await records.tell("player.credit_ordered", "player", "gift-lost", records.middle)


async def deposit_alone(records: Records) -> None:
    await records.book(5, "gift-of-nobody", 700, source_id=records.manual_id)


async def deposit_twice(records: Records) -> None:
    records.balance += 100_000
    records.version += 1
    await records.run(
        "insert into journal (tenant_id, wallet_id, version, batch_id, d_real, d_bonus, d_held, d_debt, real_after,"
        " bonus_after, held_after, debt_after, created_at, account_id, source_id, op, reference)"
        " select tenant_id, wallet_id, $2::bigint, batch_id, d_real, 0, 0, 0, $3::bigint, 0, 0, 0, created_at,"
        " account_id, source_id, op, reference from journal where tenant_id = $1 and reference = 'gift-1'",
        records.scope.tenant_id,
        records.version,
        records.balance,
    )


async def deposit_late(records: Records) -> None:
    await records.run(
        "update journal set created_at = created_at + interval '5 minutes' where tenant_id = $1 and op = 5",
        records.scope.tenant_id,
    )


async def place_twice(records: Records) -> None:
    await records.run("alter table audit_entry drop constraint uq_audit_entry_tenant_id_event_id")
    await records.run(
        "update audit_entry set event_id = (select event_id from audit_entry where tenant_id = $1 order by log_seq"
        " limit 1) where tenant_id = $1 and log_seq = 1",
        records.scope.tenant_id,
    )


async def tell_unmatched(records: Records) -> None:
    await records.tell("capture.unexplained", "capture", "game softswiss:dice", records.middle)
    await records.log()


async def prove_late(records: Records) -> None:
    statement = "update audit_checkpoint set made_at = made_at + interval '2 minutes' where tenant_id = $1"
    await records.run(statement, records.scope.tenant_id)


FAULTS: list[tuple[str, Area, Dimension, State, FindingKind | None, Spoil]] = [
    ("a round stays open", ROUNDS, COMPLETENESS, State.RED, FindingKind.ROUND_OPEN, leave_open),
    ("a bet is booked twice", ROUNDS, UNIQUENESS, State.RED, FindingKind.BOOKED_TWICE, book_twice),
    (
        "a round says another sum",
        ROUNDS,
        CONSISTENCY,
        State.RED,
        FindingKind.SUMS_DIFFER,
        sql("update round set win_minor = win_minor + 1 where tenant_id = $1 and reference = 'r2'"),
    ),
    (
        "a booking has no key",
        ROUNDS,
        CONSISTENCY,
        State.RED,
        FindingKind.KEY_MISSING,
        sql("delete from call_key where tenant_id = $1 and version = 3"),
    ),
    (
        "a booking does not follow the last",
        ROUNDS,
        CONSISTENCY,
        State.RED,
        FindingKind.CHAIN_BROKEN,
        sql("update journal set real_after = real_after + 5 where tenant_id = $1 and reference = 'r1-bet'"),
    ),
    ("an order is not booked", PAYMENTS, COMPLETENESS, State.RED, FindingKind.ORDER_NOT_BOOKED, order_only),
    (
        "a hold does not end",
        PAYMENTS,
        COMPLETENESS,
        State.RED,
        FindingKind.HOLD_NOT_ENDED,
        sql(
            "insert into hold (tenant_id, wallet_id, opened_version, amount_minor, expires_at)"
            " select tenant_id, wallet_id, 1, 5, date_trunc('hour', now()) - interval '80 minutes' from wallet"
            " where tenant_id = $1"
        ),
    ),
    ("a deposit is booked twice", PAYMENTS, UNIQUENESS, State.RED, FindingKind.BOOKED_TWICE, deposit_twice),
    ("nobody ordered a deposit", PAYMENTS, CONSISTENCY, State.RED, FindingKind.NOT_ORDERED, deposit_alone),
    ("a deposit comes late", PAYMENTS, TIMELINESS, State.RED, None, deposit_late),
    (
        "an event is not in the log",
        AUDIT,
        COMPLETENESS,
        State.RED,
        FindingKind.NOT_LOGGED,
        sql("delete from audit_entry where tenant_id = $1 and log_seq = 0"),
    ),
    ("an event has two places", AUDIT, UNIQUENESS, State.RED, FindingKind.PLACED_TWICE, place_twice),
    ("a change has no event", AUDIT, CONSISTENCY, State.RED, FindingKind.NOT_MATCHED, tell_unmatched),
    ("a checkpoint comes late", AUDIT, TIMELINESS, State.RED, None, prove_late),
]
MENDED: dict[str, str] = {
    "journal": "created_at real_after",
    "round": "state updated_at win_minor",
}


async def copy_tables(records: Records) -> None:
    for table in ("journal", "call_key", "round", "hold", "audit_event", "audit_entry", "audit_checkpoint"):
        await records.admin.execute(f"drop table if exists kept_{table}")
        await records.admin.execute(f"create temp table kept_{table} as table {table}")


async def restore_tables(records: Records) -> None:
    """Put back the records as they were; what the measures themselves told of stays."""
    tenant = f"tenant_id = {records.scope.tenant_id}"
    for table in ("journal", "call_key", "round", "hold", "audit_event", "audit_entry", "audit_checkpoint"):
        columns = ", ".join(
            row["attname"]
            for row in await records.admin.fetch(
                "select attname from pg_attribute where attrelid = $1::regclass and attnum > 0 and attgenerated = ''"
                " and not attisdropped order by attnum",
                table,
            )
        )
        told = " and type not like 'quality.%'" if table == "audit_event" else ""
        await records.run(f"delete from {table} where {tenant}{told}")
        await records.run(
            f"insert into {table} ({columns}) overriding system value select {columns} from kept_{table} where {tenant}"
        )


async def test_an_hour_that_is_whole_is_green(house: Records, module_cell_database: PlaneDatabase) -> None:
    await house.fill()
    measures = await house.measure()
    assert len(measures) == 12
    states = {name: each.state for name, each in measures.items()}
    # Without the aggregator's own time nothing tells how soon a bet was booked.
    assert states.pop((ROUNDS, TIMELINESS)) is State.NO_DATA
    assert set(states.values()) == {State.GREEN}, states
    assert measures[ROUNDS, COMPLETENESS].found == 3
    assert measures[ROUNDS, UNIQUENESS].found == 6
    assert measures[ROUNDS, CONSISTENCY].found == 9
    assert measures[PAYMENTS, COMPLETENESS].found == 1
    assert measures[AUDIT, COMPLETENESS].found == 2
    assert {name: each.wrong for name, each in measures.items() if each.wrong} == {}
    again = await house.measure()
    assert {name: (each.found, each.wrong, each.state) for name, each in again.items()} == {
        name: (each.found, each.wrong, each.state) for name, each in measures.items()
    }
    assert await house.admin.fetchval("select count(*) from quality_measure") >= 12
    assert [each async for each in _findings(house)] == []


async def _findings(records: Records):
    for area in Area:
        for each in await records.findings(area):
            yield each


@pytest.mark.parametrize(
    ("area", "dimension", "state", "kind", "spoil"), [each[1:] for each in FAULTS], ids=[each[0] for each in FAULTS]
)
async def test_a_planted_fault_is_red_and_green_again_when_it_is_mended(
    house: Records,
    module_cell_database: PlaneDatabase,
    area: Area,
    dimension: Dimension,
    state: State,
    kind: FindingKind | None,
    spoil: Spoil,
) -> None:
    await house.fill()
    await copy_tables(house)
    await spoil(house)
    spoilt = await house.measure()
    assert spoilt[area, dimension].state is state, spoilt[area, dimension]
    assert spoilt[area, dimension].wrong >= 1
    assert spoilt[area, dimension].share_ppm > spoilt[area, dimension].threshold_ppm
    found = [each for each in await house.findings(area) if each.dimension is dimension]
    assert {(each.kind, each.is_open) for each in found} == ({(kind, True)} if kind is not None else set())
    assert await house.count_events("quality.finding_opened") >= len(found)
    await restore_tables(house)
    await house.log()
    mended = await house.measure()
    assert mended[area, dimension].state is State.GREEN, mended[area, dimension]
    after = [each for each in await house.findings(area) if each.dimension is dimension]
    assert {each.is_open for each in after} <= {False}
    assert len(after) == len(found)
    assert await house.count_events("quality.finding_closed") == await house.count_events("quality.finding_opened")
    unmatched = (await reconcile_cell(module_cell_database, house.scope)).findings
    assert [each for each in unmatched if "quality" in each.subject] == []


async def test_another_tenants_faults_are_not_ones_own(house: Records, neighbour: Records) -> None:
    for each in (house, neighbour):
        await each.fill()
    await leave_open(neighbour)
    await book_twice(neighbour)
    theirs, own = await neighbour.measure(), await house.measure()
    assert State.RED in {each.state for each in theirs.values()}
    assert State.RED not in {each.state for each in own.values()}
    assert [each async for each in _findings(house)] == []
    async with house.cell.transaction(house.scope) as session:
        assert await quality.list_measures(session, neighbour.scope) == []


async def test_late_data_measures_an_hour_anew(house: Records) -> None:
    await house.fill()
    assert (await house.measure())[ROUNDS, COMPLETENESS].found == 3
    await house.play("late", at=house.middle + timedelta(minutes=1))
    assert (await house.measure())[ROUNDS, COMPLETENESS].found == 4


async def test_what_cannot_be_known_yet_is_no_data(house: Records) -> None:
    await house.fill()
    await house.reconcile(at=house.hour)
    measures = await house.measure()
    assert measures[AUDIT, CONSISTENCY].state is State.NO_DATA
    empty = house.hour - timedelta(days=3)
    async with house.worker.snapshot(house.scope) as session:
        readings = await quality.read_hour(session, house.scope, empty, utc_now())
    async with house.worker.transaction(house.scope) as session:
        kept = await quality.keep_hour(session, house.scope, empty, readings, utc_now(), WORKER)
    assert {each.state for each in kept} == {State.NO_DATA}


KILLED = """
import asyncio, sys
from pitboss.kernel.scope import Actor, ActorKind, TenantScope
from pitboss.platform.db import ContextKey, ContextSigner, Database, create_engine
from pitboss.kernel.clock import utc_now
from pitboss.quality import service as quality
from pitboss.worker.quality_jobs import measure_hour

async def main(url, key_id, key, number):
    database = Database(create_engine(url), "eu-1", ContextSigner([ContextKey(key_id, bytes.fromhex(key))]))
    scope = TenantScope(int(number), "tenant", "eu-1")
    while True:
        for hour in quality.list_hours(utc_now(), 24):
            await measure_hour(database, scope, hour, Actor(ActorKind.SERVICE, "quality.measure"))
            print("measured", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_kill_in_the_middle_leaves_whole_hours_and_doubles_nothing(
    house: Records, module_cell_database: PlaneDatabase
) -> None:
    await house.fill()
    await leave_open(house)
    key = module_cell_database.context_keys[0]
    for measured in (1, 3, 7):
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", KILLED, module_cell_database.worker_url, key.key_id, key.secret.hex()),
            str(house.scope.tenant_id),
            stdout=asyncio.subprocess.PIPE,
        )
        assert program.stdout is not None
        for _ in range(measured):
            assert await program.stdout.readline() == b"measured\n"
        await asyncio.sleep(measured / 70)  # somewhere in the hour after that
        program.kill()
        await program.wait()
        counted = await house.admin.fetch(
            "select count(*) from quality_measure where tenant_id = $1 group by hour", house.scope.tenant_id
        )
        assert len(counted) >= measured
        assert {row["count"] for row in counted} == {12}
    assert (await house.measure())[ROUNDS, COMPLETENESS].state is State.RED
    assert [each.kind for each in await house.findings(ROUNDS)] == [FindingKind.ROUND_OPEN]
    assert await house.count_events("quality.finding_opened") == 1
