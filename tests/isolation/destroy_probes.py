"""The one function that destroys rows by schedule, called for another tenant's plan and by whoever may not."""

from __future__ import annotations

from tests.isolation.probes import Arena, Ending, Report, run_statement
from tests.isolation.seeding import NOBODY, A, B

DESTROY = "select retention_destroy($1, $2, 1, 1000)"
FIND = "select count(*) from retention_find($1, 'round', $2, 'creation', now())"


async def probe_destroy(arena: Arena, report: Report) -> None:
    """Nobody destroys, or counts, rows of another tenant; none but the worker destroys its own."""
    admin = arena.admin
    theirs, mine = [
        await admin.fetchval("select run_id from retention_run where tenant_id = $1", tenant) for tenant in (B, A)
    ]
    missing = await admin.fetchval("select gen_random_uuid()")
    licence = await admin.fetchval("select licence from player where tenant_id = $1", B)
    before = await arena.fingerprint_b()
    for login in ("pitboss_app", "pitboss_worker", "pitboss_relay", "pitboss_seq"):
        async with arena.connect(login) as connection:
            for tenants in ((A,), ()):
                endings: list[Ending] = []
                for tenant, run in ((B, theirs), (NOBODY, missing), (A, theirs), (A, missing)):
                    async with connection.transaction():
                        if tenants:
                            await arena.enter(connection, *tenants)
                        endings.append(await run_statement(connection, DESTROY, (tenant, run)))
                name = f"{login} destroys as {tenants}"
                report.count(name, "" if all(ending.error for ending in endings) else "was allowed")
                alike = endings[0].like() == endings[1].like() and endings[2].like() == endings[3].like()
                report.count(name, "" if alike else "something is told")
            async with connection.transaction():
                await arena.enter(connection, A)
                ending = await run_statement(connection, DESTROY, (A, mine))
            # The seeded plan is over, so that the worker gets as far as the plan and no further.
            reached = ending.error.startswith("23001")
            report.count(
                f"{login} destroys its own", "" if reached == (login == "pitboss_worker") else ending.error or "may"
            )
            async with connection.transaction():
                await arena.enter(connection, A)
                ending = await run_statement(connection, FIND, (B, licence))
            seen = not ending.error and ending.rows != ("{'count': 0}",)
            report.count(f"{login} counts for destruction", f"counts {ending.rows}" if seen else "")
    after = await arena.fingerprint_b()
    for table, rows in before.items():
        report.count(f"destruction in {table}", "" if rows == after[table] else "were changed by the other tenant")
