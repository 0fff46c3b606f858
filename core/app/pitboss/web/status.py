"""The status page: what runs here, whom it serves, and the last rounds moving; for people at the machine."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import msgspec
from litestar import Request, Response, get
from litestar.params import FromQuery
from litestar.types import ControllerRouterHandler

from pitboss.kernel.clock import utc_now
from pitboss.web.pages import render_page
from pitboss.web.security import check_platform_permission
from pitboss.web.texts import LANGUAGES, choose_language, format_count, format_duration, format_money, texts_of


class CellRow(msgspec.Struct, frozen=True):
    """A cell; `address` leads to its own status page where control knows it."""

    name: str
    locality: str
    version: int
    age_seconds: int | None = None
    address: str = ""


class TenantRow(msgspec.Struct, frozen=True):
    """A tenant and where it lives."""

    slug: str
    name: str
    state: str
    cell: str
    domains: tuple[str, ...]
    currencies: tuple[str, ...]
    plugins: tuple[str, ...]


class FactRow(msgspec.Struct, frozen=True):
    """What a plugin tells of a tenant's configuration."""

    tenant: str
    label: str
    value: str
    is_warning: bool


class PluginRow(msgspec.Struct, frozen=True):
    """A plugin of this cell; `problem` says why it does not serve."""

    slug: str
    title: str
    version: str
    tenants: tuple[str, ...]
    state: str
    problem: str = ""
    facts: tuple[FactRow, ...] = ()


class ProcessRow(msgspec.Struct, frozen=True):
    """A process of this cell as it described itself last."""

    name: str
    pid: int
    uptime_seconds: int
    problems: Mapping[str, str]


class RoundRow(msgspec.Struct, frozen=True):
    """A round; amounts in minor units of `currency`."""

    moment: datetime
    tenant: str
    game: str
    plugin: str
    mode: str
    state: str
    currency: str
    bet_minor: int
    win_minor: int
    balance_minor: int


class StatusView(msgspec.Struct, frozen=True):
    """Everything that the page shows; None where the plane has no such thing."""

    plane: str
    place: str
    cells: tuple[CellRow, ...] = ()
    tenants: tuple[TenantRow, ...] = ()
    plugins: tuple[PluginRow, ...] | None = None
    processes: tuple[ProcessRow, ...] | None = None
    rounds: tuple[RoundRow, ...] | None = None
    wallet_calls_per_minute: int | None = None
    open_jobs: int | None = None
    oldest_job_seconds: int | None = None
    problems: Mapping[str, str] = {}


class StatusSource(Protocol):
    """Collects what the status page shows; a part that cannot be had is among the problems."""

    async def collect(self) -> StatusView:
        """Return the present state."""
        ...


@get("/", opt={"permission": "platform.status.view"}, guards=[check_platform_permission], include_in_schema=False)
async def show_status(request: Request[Any, Any, Any], lang: FromQuery[str | None] = None) -> Response[str]:
    """Show the status page in the reader's language."""
    return await answer_status(request, lang)


async def answer_status(request: Request[Any, Any, Any], lang: str | None) -> Response[str]:
    """Return the status page; who may see it is checked before."""
    source: StatusSource = request.app.state.status_source
    language = choose_language(lang, request.headers.get("accept-language", ""))
    return render_page(
        "status.html",
        view=await source.collect(),
        texts=texts_of(language),
        language=language,
        languages=LANGUAGES,
        moment=utc_now(),
        money=partial(format_money, language=language),
        count=partial(format_count, language=language),
        duration=format_duration,
    )


HANDLERS: list[ControllerRouterHandler] = [show_status]
