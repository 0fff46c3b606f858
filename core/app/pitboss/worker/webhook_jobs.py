"""The job of webhooks: what a vendor sent is translated and carried out, in the order of what it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.games import service as games
from pitboss.kernel.scope import Origin, TenantScope
from pitboss.platform.telemetry import Metrics
from pitboss.plughost import service as plughost
from pitboss.plughost.contracts import WEBHOOK_JOB, WebhookState
from pitboss.plughost.errors import WebhooksNotTaken
from pitboss.plughost.runtime import Receivers
from pitboss.worker.jobs import Job, job_actor
from pitboss_sdk.webhooks import RawWebhook

COUNT_JOB: Final = "plughost.count_parked_webhooks"
_COUNT_SECONDS: Final = 60

_log = structlog.get_logger(__name__)


class _Absent:
    """Stands for a receiver that is not there any more: a plugin may have been switched off since."""

    def __init__(self, reason: WebhooksNotTaken) -> None:
        self._reason = reason

    async def translate(self, raw: RawWebhook) -> tuple[Any, ...]:  # noqa: ARG002 - there is nobody to give it to
        raise self._reason


def webhook_jobs(
    receivers: Receivers, metrics: Metrics, scopes: Callable[[], Sequence[TenantScope]]
) -> tuple[Job, ...]:
    """Return the jobs of webhooks; metrics tell of the tenants of `scopes` only."""
    counted: set[tuple[str, str]] = set()

    async def carry_out(session: AsyncSession, scope: TenantScope, payload: Mapping[str, Any]) -> None:
        plugin, event_id = str(payload["plugin"]), str(payload["event_id"])

        async def do(event: Any) -> None:
            actor = job_actor(WEBHOOK_JOB)
            await games.carry_out_event(
                session, scope, plugin, event, actor=actor, origin=Origin(causation_id=event_id)
            )

        try:
            receiver = await receivers.get(session, scope, plugin)
        except WebhooksNotTaken as error:
            receiver = _Absent(error)
        settled = await plughost.settle_webhook(
            session, scope, receiver, plugin, event_id, do, again=payload.get("again") is True
        )
        if settled is None:
            return
        outcome = settled.state.name.lower()
        metrics.webhook_events.labels(scope.slug, plugin, outcome).inc()
        if settled.state is not WebhookState.DONE:
            _log.warning("webhook.not_carried_out", tenant=scope.slug, plugin=plugin, outcome=outcome)

    async def count_parked(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        parked = await plughost.count_parked(session, scope)
        gone = {(slug, plugin) for slug, plugin in counted if slug == scope.slug and plugin not in parked}
        for slug, plugin in gone:
            metrics.webhooks_parked.remove(slug, plugin)
        for plugin, count in parked.items():
            metrics.webhooks_parked.labels(scope.slug, plugin).set(count)
        counted.difference_update(gone)
        counted.update((scope.slug, plugin) for plugin in parked)

    def forget_closed() -> None:
        served = {scope.slug for scope in scopes()}
        for slug, plugin in {each for each in counted if each[0] not in served}:
            metrics.webhooks_parked.remove(slug, plugin)
            counted.remove((slug, plugin))

    metrics.before_render(forget_closed)
    return (
        Job(WEBHOOK_JOB, carry_out, "plughost.webhook.edit"),
        Job(COUNT_JOB, count_parked, "plughost.webhook.edit", every_seconds=_COUNT_SECONDS),
    )
