"""From an error to an HTTP answer: problem details (RFC 9457) with a stable code and the request id."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from pitboss.platform.db import is_unavailable
from pitboss_sdk.errors import ErrorKind, PitbossError

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 1

STATUS_OF_KIND: Final[Mapping[ErrorKind, int]] = {
    ErrorKind.INVALID: 422,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.CONFLICT: 409,
    ErrorKind.LIMITED: 429,
    ErrorKind.REFUSED: 409,
    ErrorKind.MISDIRECTED: 421,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.UNKNOWN_OUTCOME: 202,
    ErrorKind.BUG: 500,
}
"""What each kind of error answers; every kind is here, and a test says so."""

_CODE_OF_STATUS: Final[Mapping[int, str]] = {
    400: "web.malformed",
    401: "web.unauthenticated",
    403: "permissions.forbidden",
    404: "web.not_found",
    405: "web.method_not_allowed",
    413: "web.body_too_large",
    415: "web.media_type_unsupported",
    429: "web.limited",
}

_log = structlog.get_logger(__name__)


class FieldFault(msgspec.Struct, frozen=True):
    """One thing wrong with a request: where (`body.email`, `query.page_size`) and what."""

    path: str
    reason: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Problem details; `code` is stable, `request_id` finds the request in the logs."""

    type: str
    title: str
    status: int
    code: str
    request_id: str
    detail: str = ""
    errors: tuple[FieldFault, ...] = ()


class Unauthenticated(PitbossError):
    """The request carries no valid proof of who is asking."""

    code = "web.unauthenticated"
    kind = ErrorKind.UNAUTHENTICATED


class UnknownHost(PitbossError):
    """Nobody is served under this host name, or not this page."""

    code = "web.not_found"
    kind = ErrorKind.NOT_FOUND


class DirectoryNotRead(PitbossError):
    """The cell does not know yet whom it serves; the same call may succeed later."""

    code = "web.directory_not_read"
    kind = ErrorKind.UNAVAILABLE


class Misdirected(PitbossError):
    """The host name belongs to a tenant of another cell."""

    code = "web.misdirected"
    kind = ErrorKind.MISDIRECTED


def request_id_of(request: Request[Any, Any, Any]) -> str:
    """Return the id that the edge gave this request."""
    return str(request.scope["state"].get("request_id", ""))


def problem_response(
    request: Request[Any, Any, Any],
    status: int,
    code: str,
    detail: str = "",
    errors: tuple[FieldFault, ...] = (),
    headers: dict[str, str] | None = None,
) -> Response[Problem]:
    """Return problem details as an HTTP answer."""
    problem = Problem(
        type=f"urn:pitboss:error:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        request_id=request_id_of(request),
        detail=detail,
        errors=errors,
    )
    return Response(problem, status_code=status, media_type=PROBLEM_MEDIA_TYPE, headers=headers)


def answer_situation(request: Request[Any, Any, Any], error: PitbossError) -> Response[Problem]:
    """Answer one of our own errors; what is missing and what another tenant has look the same."""
    status = STATUS_OF_KIND[error.kind]
    if error.kind is ErrorKind.BUG:
        return answer_unknown(request, error)
    headers: dict[str, str] = {}
    if error.kind is ErrorKind.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.kind in {ErrorKind.UNAVAILABLE, ErrorKind.LIMITED}:
        headers["Retry-After"] = str(getattr(error, "retry_after_seconds", RETRY_AFTER_SECONDS))
    return problem_response(request, status, error.code, error.detail, headers=headers)


def answer_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Answer what the framework refused: a path, a method, a body, a parameter."""
    if isinstance(error, ValidationException):
        return problem_response(request, 422, "web.invalid", "the request is not valid", _faults(error.extra))
    if error.status_code >= 500:
        return answer_unknown(request, error)
    code = _CODE_OF_STATUS.get(error.status_code, "web.refused")
    return problem_response(request, error.status_code, code, headers=dict(error.headers or {}))


def answer_unknown(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Answer what nobody foresaw: 500 with the request id and nothing of the error; 503 for a database that is away."""
    if is_unavailable(error):
        _log.warning("web.database_unavailable", request_id=request_id_of(request), error_type=type(error).__name__)
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return problem_response(request, 503, "platform.database_unavailable", headers=headers)
    _log.error(
        "web.request_failed",
        request_id=request_id_of(request),
        path_template=cast("Any", request.scope).get("path_template"),
        exc_info=error,
    )
    return problem_response(request, 500, "web.internal")


def _faults(extra: object) -> tuple[FieldFault, ...]:
    if not isinstance(extra, list):
        return ()
    faults: list[FieldFault] = []
    for item in cast("list[object]", extra):
        if isinstance(item, dict):
            entry = cast("dict[str, object]", item)
            place = ".".join(str(part) for part in (entry.get("source") or "body", entry.get("key") or "") if part)
            faults.append(FieldFault(path=place, reason=str(entry.get("message", ""))))
    return tuple(faults)


EXCEPTION_HANDLERS: Final[dict[int | type[Exception], Any]] = {
    PitbossError: answer_situation,
    HTTPException: answer_http_error,
    Exception: answer_unknown,
}
"""For the application: an own error, one of the framework, anything else."""
