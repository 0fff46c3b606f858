"""The jobs of player accounts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import service as accounts
from pitboss.kernel.scope import TenantScope
from pitboss.keys.runtime import KeyRing
from pitboss.platform.mail import MailSpool
from pitboss.worker.jobs import Job

_PRUNE_SECONDS = 3600
_KEEP_MAIL = timedelta(days=1)


def account_jobs(spool: MailSpool, ring: KeyRing) -> tuple[Job, ...]:
    """Return the jobs of player accounts; mail goes into `spool`."""

    async def send_password_reset(session: AsyncSession, scope: TenantScope, payload: Mapping[str, Any]) -> None:
        letter = await accounts.make_password_reset(
            session,
            scope,
            ring,
            player_id=payload["player_id"],
            domain=payload["domain"],
            causation_id=payload["causation_id"],
        )
        if letter is None:
            return
        spool.put(
            f"{scope.slug}-{payload['mail_id']}",
            sender=letter.sender,
            recipient=letter.recipient,
            subject=letter.subject,
            body=letter.body,
            language=letter.language,
        )

    async def prune_sessions(session: AsyncSession, scope: TenantScope, _payload: Mapping[str, Any]) -> None:
        await accounts.prune_sessions(session, scope)
        spool.prune(f"{scope.slug}-", _KEEP_MAIL)  # it names people, and what it is for is over within the hour

    return (
        Job(accounts.RESET_MAIL_JOB, send_password_reset, "accounts.mail.edit"),
        Job("accounts.prune_sessions", prune_sessions, "accounts.session.delete", every_seconds=_PRUNE_SECONDS),
    )
