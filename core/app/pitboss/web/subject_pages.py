"""The operators' pages of data subjects' requests: a list with its clocks, and a request with what may be done next."""

from collections.abc import Awaitable, Callable
from functools import partial
from operator import methodcaller
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.audit import service as audit
from pitboss.audit.contracts import EventFilter
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import TenantScope
from pitboss.keys.runtime import KeyRing
from pitboss.platform.db import Database
from pitboss.platform.objects import ObjectFolder
from pitboss.plughost.contracts import LoadedPack
from pitboss.policy.runtime import Policies
from pitboss.subjects import service as subjects
from pitboss.subjects.contracts import (
    ROOM,
    Case,
    CaseFilter,
    CaseKind,
    CaseOrder,
    CaseReason,
    CaseState,
    Correction,
)
from pitboss.subjects.errors import CaseOrderInvalid
from pitboss.web.operator_pages import HOME, PAGE_GUARDS, go_to, page_words
from pitboss.web.pages import render_page, tell_day, tell_moment
from pitboss.web.reading import Reading
from pitboss.web.security import provide_actor, provide_database, provide_origin, provide_tenant
from pitboss_sdk.errors import ErrorKind, PitbossError

_ROWS: Final = 25
_STEPS: Final = 50
"""Steps of a case that its page shows; the audit log has them all."""
Work = Callable[[AsyncSession, TenantScope, dict[str, Any]], Awaitable[Any]]


@get(
    HOME,
    opt={"permission": "subjects.case.view", "reads": "subject_key account opaque"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
)
async def list_cases(
    request: Request[Any, Any, Any],
    reading: NamedDependency[Reading],
    show: FromQuery[str] = "open",
    kind: FromQuery[str] = "",
    cursor: FromQuery[str | None] = None,
    problem: FromQuery[str] = "",
    lang: FromQuery[str | None] = None,
) -> Response[str]:
    """Show requests: open ones by the day they are due, answered ones newest first."""
    tenant, now = provide_tenant(request), utc_now()
    chosen = CaseKind[kind.upper()] if kind.upper() in CaseKind.__members__ else None
    wanted = CaseFilter(is_open=show != "ended", kind=chosen)
    async with provide_database(request).transaction(tenant) as session:
        page = await subjects.list_cases(session, tenant, wanted, cursor=cursor, page_size=_ROWS)
        is_open, overdue = await subjects.count_cases(session, tenant, now)
        await reading.record(session, tenant, "subject_case.listed", "", [str(case.case_id) for case in page.items])
    return render_page(
        "subjects.html",
        **page_words(request, lang),
        tenant=tenant.slug,
        cases=page.items,
        next_cursor=page.next_cursor,
        is_open=is_open,
        overdue=overdue,
        show="ended" if show == "ended" else "open",
        kind=chosen.name.lower() if chosen else "",
        kinds=[each.name.lower() for each in CaseKind],
        problem=problem[:100],
        clock=partial(subjects.clock_of, now=now),
        day=tell_day,
    )


@get(
    f"{HOME}/{{case_id:uuid}}",
    opt={"permission": "subjects.case.view", "reads": "subject_key account staff opaque"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
)
async def show_case(
    request: Request[Any, Any, Any],
    case_id: FromPath[UUID],
    reading: NamedDependency[Reading],
    problem: FromQuery[str] = "",
    lang: FromQuery[str | None] = None,
) -> Response[str]:
    """Show a request, what was done for it and what may be done next."""
    tenant, now = provide_tenant(request), utc_now()
    async with provide_database(request).transaction(tenant) as session:
        case = await subjects.get_case(session, tenant, case_id)
        exports = await subjects.list_exports(session, tenant, case_id)
        restrictions = await subjects.find_restrictions(session, tenant, case.player)
        wanted = EventFilter(target=f"subject_case:{case_id}")
        steps = await audit.list_events(session, tenant, wanted, page_size=_STEPS)
        await reading.record(session, tenant, "player.viewed", str(case.player), [str(case.player)])
    return render_page(
        "subject.html",
        **page_words(request, lang),
        tenant=tenant.slug,
        case=case,
        exports=exports,
        restrictions=restrictions,
        steps=steps.items,
        next_states=_next_states(case),
        reasons=[each.value for each in CaseReason],
        problem=problem[:100],
        clock=partial(subjects.clock_of, now=now),
        is_there=methodcaller("is_there", now),
        day=tell_day,
        moment=tell_moment,
    )


@post(HOME, opt={"permission": "subjects.case.edit"}, guards=PAGE_GUARDS, include_in_schema=False, status_code=303)
async def open_case(request: Request[Any, Any, Any], policies: NamedDependency[Policies]) -> Response[None]:
    """Open a request that came in."""
    form = await request.form()

    async def work(session: AsyncSession, tenant: TenantScope, by: dict[str, Any]) -> Case:
        try:
            player_id = UUID(str(form.get("player", "")).strip())
            kind = CaseKind[str(form.get("kind", "")).upper()]
        except (ValueError, KeyError):
            raise CaseOrderInvalid("player or kind: not one") from None
        player = await accounts.get_player(session, tenant, player_id)
        policy = await policies.get(session, tenant, player.licence)
        reference = str(form.get("reference", "")).strip()
        order = CaseOrder(player_id, kind, reference, utc_now(), policy.subject_answer_days)
        return await subjects.open_case(session, tenant, order, **by)

    return await _do(request, HOME, work)


@post(
    f"{HOME}/{{case_id:uuid}}/step",
    opt={"permission": "subjects.case.approve"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
    status_code=303,
)
async def move_case(request: Request[Any, Any, Any], case_id: FromPath[UUID]) -> Response[None]:
    """Move a request to its next state."""
    form = await request.form()

    async def work(session: AsyncSession, tenant: TenantScope, by: dict[str, Any]) -> Case:
        try:
            wanted = CaseState[str(form.get("state", "")).upper()]
            reasons = [CaseReason(str(each)) for each in form.getall("reason", []) if each]
        except (ValueError, KeyError):
            raise CaseOrderInvalid("state or reason: not one") from None
        return await subjects.move(session, tenant, case_id, wanted, reasons, **by)

    return await _do(request, f"{HOME}/{case_id}", work)


@post(
    f"{HOME}/{{case_id:uuid}}/export",
    opt={"permission": "subjects.export.export"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
    status_code=303,
)
async def ask_export(request: Request[Any, Any, Any], case_id: FromPath[UUID]) -> Response[None]:
    """Have what is held of the player collected."""
    return await _ask(request, case_id, subjects.ask_export)


@post(
    f"{HOME}/{{case_id:uuid}}/restrict",
    opt={"permission": "subjects.restriction.edit"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
    status_code=303,
)
async def restrict(request: Request[Any, Any, Any], case_id: FromPath[UUID]) -> Response[None]:
    """Keep the player's data from use."""
    return await _ask(request, case_id, subjects.restrict)


@post(
    f"{HOME}/{{case_id:uuid}}/lift",
    opt={"permission": "subjects.restriction.edit"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
    status_code=303,
)
async def lift(request: Request[Any, Any, Any], case_id: FromPath[UUID]) -> Response[None]:
    """Let the player's data be used again."""
    return await _ask(request, case_id, subjects.lift)


@post(
    f"{HOME}/{{case_id:uuid}}/correct",
    opt={"permission": "subjects.identity.edit"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
    status_code=303,
)
async def correct(
    request: Request[Any, Any, Any], case_id: FromPath[UUID], keys: NamedDependency[KeyRing]
) -> Response[None]:
    """Put right who the player is; a field that is left empty stays as it is."""
    form = await request.form()

    async def work(session: AsyncSession, tenant: TenantScope, by: dict[str, Any]) -> Any:
        given = {name: str(form[name]).strip() for name in Correction.__struct_fields__ if form.get(name)}
        try:
            correction = msgspec.convert(given, Correction)
        except msgspec.ValidationError:
            raise CaseOrderInvalid("birth_date: not a day") from None
        return await subjects.correct(session, tenant, keys, case_id, correction, **by)

    return await _do(request, f"{HOME}/{case_id}", work)


@post(
    f"{HOME}/{{case_id:uuid}}/erase",
    opt={"permission": "subjects.player.delete"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
    status_code=303,
)
async def erase(
    request: Request[Any, Any, Any],
    case_id: FromPath[UUID],
    keys: NamedDependency[KeyRing],
    packs: NamedDependency[dict[str, LoadedPack]],
) -> Response[None]:
    """Erase who the player is, or keep it from use where the law keeps it."""
    form = await request.form()

    async def work(session: AsyncSession, tenant: TenantScope, by: dict[str, Any]) -> Any:
        if form.get("sure") != "yes":
            raise CaseOrderInvalid("an erasure is confirmed")
        return await subjects.erase(session, tenant, keys, case_id, packs, **by)

    return await _do(request, f"{HOME}/{case_id}", work)


@get(
    f"{HOME}/exports/{{export_id:uuid}}",
    opt={"permission": "subjects.export.reveal"},
    guards=PAGE_GUARDS,
    include_in_schema=False,
)
async def fetch_export(
    request: Request[Any, Any, Any],
    export_id: FromPath[UUID],
    keys: NamedDependency[KeyRing],
    objects: NamedDependency[ObjectFolder],
    database: NamedDependency[Database],
) -> Response[bytes]:
    """Hand out an export; each time it is asked who wants it, and each time it is recorded."""
    tenant = provide_tenant(request)
    async with database.transaction(tenant) as session:
        content = await subjects.fetch_file(session, tenant, keys, objects.of(tenant, ROOM), export_id, **_by(request))
    headers = {"Content-Disposition": f'attachment; filename="{export_id}.zip"', "Cache-Control": "no-store"}
    return Response(content, media_type="application/zip", headers=headers)


async def _ask(
    request: Request[Any, Any, Any], case_id: UUID, use_case: Callable[..., Awaitable[Any]]
) -> Response[None]:
    """Do what a form without fields asks for."""

    async def work(session: AsyncSession, tenant: TenantScope, by: dict[str, Any]) -> Any:
        return await use_case(session, tenant, case_id, **by)

    return await _do(request, f"{HOME}/{case_id}", work)


async def _do(request: Request[Any, Any, Any], address: str, work: Work) -> Response[None]:
    """Do what a form asks for and lead back to its page, which says what was refused."""
    tenant = provide_tenant(request)
    try:
        async with provide_database(request).transaction(tenant) as session:
            done = await work(session, tenant, _by(request))
    except PitbossError as error:
        if error.kind not in {ErrorKind.INVALID, ErrorKind.CONFLICT, ErrorKind.REFUSED} and address != HOME:
            raise
        return go_to(f"{address}?problem={error.code}")
    return go_to(f"{HOME}/{done.case_id}" if isinstance(done, Case) else address)


def _by(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return {"actor": provide_actor(request), "origin": provide_origin(request)}


def _next_states(case: Case) -> list[str]:
    return [state.name.lower() for state in subjects.list_next(case)]


HANDLERS: list[ControllerRouterHandler] = [
    list_cases,
    show_case,
    open_case,
    move_case,
    ask_export,
    restrict,
    lift,
    correct,
    erase,
    fetch_export,
]
