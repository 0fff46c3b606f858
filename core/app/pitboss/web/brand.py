"""A brand's own pages under its domains: the front page, its stylesheet and its logo."""

from typing import Any, Final, cast

import msgspec
from litestar import Request, Response, get
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery
from litestar.types import ControllerRouterHandler

from pitboss.directory.contracts import DirectoryBrand
from pitboss.directory.runtime import Directory
from pitboss.games import service as games
from pitboss.kernel.scope import TenantScope
from pitboss.permissions.contracts import VISITOR
from pitboss.permissions.service import require
from pitboss.platform.db import Database
from pitboss.policy.contracts import MINIMUM_AGE_YEARS
from pitboss.policy.runtime import Policies
from pitboss.themes import service as themes
from pitboss.themes.contracts import Served
from pitboss.web.pages import BrandLook, render_page
from pitboss.web.security import check_platform_permission, holds_operator_token, host_name, resolve_tenant
from pitboss.web.status import answer_status
from pitboss.web.texts import choose_language, texts_of

_FOR_LONG: Final = "public, max-age=31536000, immutable"
_FOR_NOW: Final = "public, max-age=60"
"""For an address without the version; a page that names it gets the other."""
_MOST_GAMES: Final = 200


def find_brand(connection: ASGIConnection[Any, Any, Any, Any]) -> DirectoryBrand | None:
    """Return the brand of this cell behind the host name; control has none."""
    directory = cast("Directory | None", connection.app.state.directory)
    return directory.find_brand_by_domain(host_name(connection)) if directory is not None else None


async def check_front_page(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let everybody see a brand's front page under its domains; the status page, at any other name, is guarded."""
    if find_brand(connection) is None or holds_operator_token(connection):
        await check_platform_permission(connection, handler)
    else:
        await resolve_tenant(connection, handler)


@get(
    "/",
    opt={"permission": "platform.status.view", "public": "a brand's front page; another name needs the permission"},
    guards=[check_front_page],
    include_in_schema=False,
)
async def show_front(
    request: Request[Any, Any, Any], policies: NamedDependency[Policies], lang: FromQuery[str | None] = None
) -> Response[str]:
    """Show a brand's front page under its domains, and the status page under the machine's own names."""
    brand, tenant = find_brand(request), cast("TenantScope | None", request.scope["state"].get("tenant"))
    if brand is None or tenant is None:
        return await answer_status(request, lang)
    require(VISITOR, "games.game.view")
    licence = cast("Directory", request.app.state.directory).tenant(tenant).licence_of(brand)
    accepted = request.headers.get("accept-language", "")
    language = choose_language(lang, accepted, brand.default_language, brand.languages)
    async with cast("Database", request.app.state.database).transaction(tenant) as session:
        served = await themes.find_served(session, tenant, brand.slug)
        offered = await games.list_offered(session, tenant, most=_MOST_GAMES)
        policy = await policies.find(session, tenant, licence)
    return render_page(
        "brand.html",
        look=_look_of(brand, served, language),
        games=offered,
        minimum_age_years=policy.minimum_age_years if policy else MINIMUM_AGE_YEARS,
        texts=texts_of(language),
        language=language,
        languages=brand.languages,
    )


def _look_of(brand: DirectoryBrand, served: Served | None, language: str) -> BrandLook:
    if served is None:
        return BrandLook(brand.name)
    return BrandLook(served.names.get(language, brand.name), served.version, has_logo=served.has_logo)


@get(
    "/theme/brand.css",
    opt={"public": "colours of a brand, no data"},
    guards=[resolve_tenant],
    include_in_schema=False,
)
async def show_stylesheet(request: Request[Any, Any, Any], v: FromQuery[str] = "") -> Response[bytes]:
    """Return the brand's stylesheet, empty for a brand that looks as the platform does."""
    tenant, brand = _brand_of(request)
    async with cast("Database", request.app.state.database).transaction(tenant) as session:
        found = await themes.find_served(session, tenant, brand.slug) or Served("plain", "", {}, has_logo=False)
    return _answer(request, _Part(found.version, "text/css", found.stylesheet.encode()), v)


@get("/theme/logo", opt={"public": "a brand's logo, no data"}, guards=[resolve_tenant], include_in_schema=False)
async def show_logo(request: Request[Any, Any, Any], v: FromQuery[str] = "") -> Response[bytes]:
    """Return the brand's logo."""
    tenant, brand = _brand_of(request)
    async with cast("Database", request.app.state.database).transaction(tenant) as session:
        found = await themes.find_logo(session, tenant, brand.slug)
    if found is None:
        raise NotFoundException
    return _answer(request, _Part(found.version, found.type, found.content), v)


def _brand_of(request: Request[Any, Any, Any]) -> tuple[TenantScope, DirectoryBrand]:
    brand = find_brand(request)
    if brand is None:  # the directory changed since the guard looked
        raise NotFoundException
    return cast("TenantScope", request.scope["state"]["tenant"]), brand


class _Part(msgspec.Struct, frozen=True):
    version: str
    media_type: str
    content: bytes


def _answer(request: Request[Any, Any, Any], part: _Part, asked_version: str) -> Response[bytes]:
    """Return a part of a theme, or only that the browser has it already."""
    tag = f'"{part.version}"'
    headers = {"ETag": tag, "Cache-Control": _FOR_LONG if asked_version == part.version else _FOR_NOW}
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if known & {tag, "*"}:
        return Response(b"", status_code=304, media_type=part.media_type, headers=headers)
    return Response(part.content, media_type=part.media_type, headers=headers)


HANDLERS: list[ControllerRouterHandler] = [show_front, show_stylesheet, show_logo]
