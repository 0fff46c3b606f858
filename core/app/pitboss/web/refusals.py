"""Refusals as security events: who asked for what they may not, showed a token that opens nothing, or forged a webhook.

A flood must not fill the log: what repeats within a minute is counted and told once, in the next event about it.
"""

from typing import Any, Final, cast

import msgspec
import structlog
from litestar import Request

from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event
from pitboss.kernel.clock import monotonic_seconds
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.permissions.contracts import VISITOR
from pitboss.permissions.errors import Forbidden
from pitboss.platform.db import Database
from pitboss.plughost.errors import WebhookForged, WebhookStale
from pitboss.web.errors import Unauthenticated
from pitboss.web.security import provide_origin
from pitboss_sdk.errors import ErrorKind, PitbossError

WINDOW_SECONDS: Final = 60
MAX_SUBJECTS: Final = 50
"""Subjects of one tenant that a process tells apart within a window; further ones are told as one."""
_OTHERS: Final = "others"

_log = structlog.get_logger(__name__)


class Subject(msgspec.Struct, frozen=True):
    """What is counted together: a refusal of one kind, of one thing, to one actor."""

    tenant: TenantScope
    type: str
    target_id: str
    actor: Actor


class _Count(msgspec.Struct):
    since: float
    untold: int = 0


class Refusals:
    """Counts what is refused and says what is to be told now; it keeps no more than a window's subjects."""

    def __init__(self) -> None:
        self._counts: dict[Subject, _Count] = {}

    def note(self, subject: Subject, now: float) -> list[tuple[Subject, int]]:
        """Count one refusal; return what to write: subjects, with how many refusals each stands for."""
        due = [(found, count.untold) for found, count in self._counts.items() if self._is_over(count, now)]
        for found, _ in due:
            del self._counts[found]
        told = [each for each in due if each[1]]
        if subject not in self._counts and self._count_subjects(subject.tenant) >= MAX_SUBJECTS:
            subject = Subject(subject.tenant, subject.type, _OTHERS, VISITOR)
        count = self._counts.get(subject)
        if count is not None:
            count.untold += 1
            return told
        self._counts[subject] = _Count(now)
        return [*told, (subject, 1)]

    def _is_over(self, count: _Count, now: float) -> bool:
        return now - count.since >= WINDOW_SECONDS

    def _count_subjects(self, tenant: TenantScope) -> int:
        return sum(found.tenant == tenant and found.target_id != _OTHERS for found in self._counts)


async def record_refusal(error: Exception, scope: Any) -> None:
    """Write what a refused request tells, before it is answered; a request without a tenant has no log to be in."""
    tenant = cast("TenantScope | None", scope.get("state", {}).get("tenant"))
    request: Request[Any, Any, Any] = Request(scope)
    found = _describe(error, request)
    if tenant is not None and found is not None:
        await note_refusal(request, tenant, *found)


async def note_refusal(request: Request[Any, Any, Any], tenant: TenantScope, event_type: str, target_id: str) -> None:
    """Write that something was refused, unless the same was told a moment ago."""
    refusals = cast("Refusals", request.app.state.refusals)
    actor = cast("Actor", request.scope["state"].get("actor", VISITOR))
    due = refusals.note(Subject(tenant, event_type, target_id, actor), monotonic_seconds())
    try:
        for subject, times in due:
            await _write(cast("Database", request.app.state.database), subject, times, provide_origin(request))
    except Exception as failure:  # noqa: BLE001 - the refusal stands, whatever became of its event
        _log.warning("web.refusal_not_recorded", tenant=tenant.slug, error_type=type(failure).__name__)


async def _write(database: Database, subject: Subject, times: int, origin: Origin) -> None:
    changes = (Change("times", None, times),)
    event = AuditEvent(subject.type, subject.actor, origin, "refusal", subject.target_id, changes, "denied")
    async with database.transaction(subject.tenant) as session:
        await record_event(session, subject.tenant, event)


def _describe(error: Exception, request: Request[Any, Any, Any]) -> tuple[str, str] | None:
    """Return the type of event and what it is about; None for what is no matter of security."""
    handler = cast("Any", request.scope).get("route_handler")
    if isinstance(error, Forbidden):
        return "permission.refused", str(handler.opt.get("permission", "")) if handler is not None else ""
    if isinstance(error, Unauthenticated) and "authorization" in request.headers:
        return "token.refused", "bearer"
    if isinstance(error, WebhookForged | WebhookStale):
        return "webhook.refused", str(request.path_params.get("plugin", ""))
    if isinstance(error, PitbossError) and error.kind is ErrorKind.LIMITED:
        return "request.throttled", str(cast("Any", request.scope).get("path_template") or "")
    return None
