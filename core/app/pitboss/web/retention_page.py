"""The operators' page of retention: how long records are kept, what is held, and what was destroyed by whose word."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.types import ControllerRouterHandler

from pitboss.kernel.clock import utc_now
from pitboss.plughost.contracts import LoadedPack
from pitboss.retention import service as retention
from pitboss.retention.contracts import Run
from pitboss.web.operator_pages import PAGE_GUARDS, page_words
from pitboss.web.pages import render_page, tell_day
from pitboss.web.reading import Reading
from pitboss.web.security import provide_database, provide_tenant
from pitboss_sdk.errors import PitbossError


@get(
    "/operator/retention",
    opt={"permission": "retention.plan.view", "reads": "subject_key staff opaque"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
)
async def show_retention(
    request: Request[Any, Any, Any],
    reading: NamedDependency[Reading],
    packs: NamedDependency[dict[str, LoadedPack]],
    lang: FromQuery[str | None] = None,
) -> Response[str]:
    """Show the schedule, holds and plans of the tenant; nothing is ordered here."""
    tenant = provide_tenant(request)
    async with provide_database(request).transaction(tenant) as session:
        try:
            lines, problem = (await retention.read_schedule(session, tenant, packs, utc_now())).lines, ""
        except PitbossError as error:
            lines, problem = (), error.code
        holds = await retention.list_holds(session, tenant, active=False)
        runs = await retention.list_runs(session, tenant)
        ids = [str(hold.hold_id) for hold in holds] + [str(run.run_id) for run in runs]
        await reading.record(session, tenant, "retention.viewed", "", ids)
    return render_page(
        "retention.html",
        **page_words(request, lang),
        tenant=tenant.slug,
        lines=lines,
        kept=sorted(retention.list_kept_tables()),
        is_purged=any(line.cutoff_at is not None for line in lines),
        holds=holds,
        runs=runs,
        problem=problem,
        state=_state_of,
        day=tell_day,
    )


def _state_of(run: Run) -> str:
    if run.finished_at is not None:
        return "done"
    return "proposed" if run.approved_at is None else "approved"


HANDLERS: list[ControllerRouterHandler] = [show_retention]
