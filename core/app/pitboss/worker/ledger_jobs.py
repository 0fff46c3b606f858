"""The jobs of the ledger: fold house deltas, expire holds, forget old windows of limits, prove the books."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.bonus import service as bonus
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import TenantScope
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import ProofOutcome
from pitboss.limits import service as limits
from pitboss.platform.db import Database
from pitboss.platform.telemetry import Metrics
from pitboss.wallet import service as wallets
from pitboss.wallet.runtime import Lanes
from pitboss.worker.jobs import Job

_FOLD_SECONDS: Final = 10
_EXPIRE_SECONDS: Final = 60
_PRUNE_SECONDS: Final = 3600
_PRUNE_TIMES: Final = 100
_TELL_SECONDS: Final = 30
_VERIFY_SECONDS: Final = 3600
_VERIFY_TIMEOUT_SECONDS: Final = 3000

_log = structlog.get_logger(__name__)


def ledger_jobs(
    database: Database, lanes: Lanes, metrics: Metrics, scopes: Callable[[], Sequence[TenantScope]]
) -> tuple[Job, ...]:
    """Return the jobs of the ledger; holds are voided through `lanes`, as all money moves.

    Metrics tell of the tenants of `scopes` only: books that are proven no more would be alerted of for ever.
    """
    proven: set[str] = set()

    def forget_closed() -> None:
        for slug in proven - {scope.slug for scope in scopes()}:
            metrics.ledger_findings.remove(slug)
            metrics.ledger_verified_at.remove(slug)
            proven.remove(slug)

    async def fold_house(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        await ledger.fold_house(session, scope)

    async def expire_holds(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        await wallets.expire_holds(lanes, scope, await ledger.list_expired_holds(session, scope))

    async def prune_usage(_session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        # Some rows a transaction: nothing waits long, and what an interruption leaves is for the next time.
        for _ in range(_PRUNE_TIMES):
            async with database.transaction(scope) as session:
                if not await limits.prune_usage(session, scope):
                    return

    async def verify(_session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        began = utc_now()
        # In a transaction of its own: the job's sees every commit, a proof needs one moment.
        async with database.snapshot(scope) as snapshot:
            proof = await ledger.verify_tenant(snapshot, scope)
            marks = await ledger.verify_wallet_marks(
                snapshot,
                scope,
                inactive_players=await accounts.list_inactive_numbers(snapshot, scope),
                limited_wallets=await limits.list_limited_wallets(snapshot, scope),
                licences=await accounts.list_licences(snapshot, scope),
            )
            awards = await ledger.verify_awards(snapshot, scope, await bonus.list_claims(snapshot, scope))
        findings = [*proof.findings, *marks, *awards]
        for finding in findings:
            _log.error("ledger.finding", tenant=scope.slug, problem=finding.check, place=finding.subject)
        # The job's own transaction is as old as the proof is long, too old for its signed context.
        async with database.transaction(scope) as session:
            await ledger.keep_proof(session, scope, ProofOutcome(began, len(findings)))
            await tell_proof(session, scope, {})

    async def tell_proof(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        # From the books, not from memory: a worker that was started since has not seen what was found.
        outcome = await ledger.find_proof(session, scope)
        if outcome is not None:
            metrics.ledger_findings.labels(scope.slug).set(outcome.findings)
            metrics.ledger_verified_at.labels(scope.slug).set(outcome.proven_at.timestamp())
            proven.add(scope.slug)

    metrics.before_render(forget_closed)
    return (
        Job("ledger.fold_house", fold_house, "ledger.book.edit", _FOLD_SECONDS),
        Job("ledger.expire_holds", expire_holds, "ledger.book.edit", _EXPIRE_SECONDS),
        Job("ledger.prune_usage", prune_usage, "limits.usage.delete", _PRUNE_SECONDS),
        Job("ledger.tell_proof", tell_proof, "ledger.book.view", _TELL_SECONDS),
        Job("ledger.verify", verify, "ledger.book.view", _VERIFY_SECONDS, _VERIFY_TIMEOUT_SECONDS),
    )
