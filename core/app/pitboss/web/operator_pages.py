"""How operators get to pages: a form that takes their token once, and a cookie of one tenant that ends within the hour.

The cookie is signed with the operator's token and holds no secret; a new token ends every one of them. Forms are taken
from our own pages alone.
"""

import hmac
from typing import Any, Final, cast

from litestar import Request, Response, get, post
from litestar.params import FromQuery
from litestar.types import ControllerRouterHandler

from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.scope import TenantScope
from pitboss.web.pages import render_page
from pitboss.web.refusals import note_refusal
from pitboss.web.security import (
    COOKIE,
    check_own_form,
    check_page_permission,
    holds_cookie,
    resolve_tenant,
    sign_cookie,
)
from pitboss.web.texts import LANGUAGES, choose_language, texts_of

COOKIE_SECONDS: Final = 3600
HOME: Final = "/operator/subjects"
_MAX_TOKEN_CHARACTERS: Final = 512


PAGE_GUARDS: Final = [resolve_tenant, check_own_form, check_page_permission]


def page_words(request: Request[Any, Any, Any], lang: str | None) -> dict[str, Any]:
    """Return what every page of operators needs to speak the reader's language."""
    language = choose_language(lang, request.headers.get("accept-language", ""))
    return {"texts": texts_of(language), "language": language, "languages": LANGUAGES}


def lead_to_sign_in(_request: Request[Any, Any, Any], _error: Exception) -> Response[None]:
    """Return the answer to whoever asks for a page without a cookie that is in force."""
    return go_to("/operator")


def go_to(address: str) -> Response[None]:
    """Return the answer that leads a browser on after a form."""
    return Response(None, status_code=303, headers={"Location": address})


@get(
    "/operator",
    opt={"public": "the form that asks for the operator's token, no data"},
    guards=[resolve_tenant],
    include_in_schema=False,
)
async def show_sign_in(request: Request[Any, Any, Any], lang: FromQuery[str | None] = None) -> Response[Any]:
    """Show the form, or lead on whoever is signed in."""
    if holds_cookie(request):
        return go_to(HOME)
    return render_page("sign_in.html", **page_words(request, lang), is_wrong=False)


@post(
    "/operator",
    opt={"public": "takes the operator's token, no data"},
    guards=[resolve_tenant, check_own_form],
    include_in_schema=False,
    status_code=200,
)
async def sign_in(request: Request[Any, Any, Any], lang: FromQuery[str | None] = None) -> Response[Any]:
    """Give a cookie for the token."""
    form = await request.form()
    given = str(form.get("token", ""))[:_MAX_TOKEN_CHARACTERS].strip()
    token = cast("str", request.app.state.operator_token)
    tenant = cast("TenantScope", request.scope["state"]["tenant"])
    if not token or not hmac.compare_digest(given.encode(), token.encode()):
        await note_refusal(request, tenant, "token.refused", "operator")
        answer = render_page("sign_in.html", **page_words(request, lang), is_wrong=True)
        answer.status_code = 401
        return answer
    return _with_cookie(sign_cookie(token, tenant.tenant_id, epoch_seconds() + COOKIE_SECONDS), COOKIE_SECONDS, HOME)


@post(
    "/operator/sign-out",
    opt={"public": "takes the cookie away, no data"},
    guards=[resolve_tenant, check_own_form],
    include_in_schema=False,
    status_code=303,
)
async def sign_out() -> Response[None]:
    """Take the cookie away."""
    return _with_cookie("", 0, "/operator")


def _with_cookie(value: str, seconds: int, address: str) -> Response[None]:
    answer = go_to(address)
    answer.set_cookie(COOKIE, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="strict")
    return answer


HANDLERS: list[ControllerRouterHandler] = [show_sign_in, sign_in, sign_out]
