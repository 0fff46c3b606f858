"""Every job of a cell, out of the rooms' own lists."""

from __future__ import annotations

import msgspec

from pitboss.directory.runtime import Directory
from pitboss.keys.runtime import KeyRing
from pitboss.platform import outbox
from pitboss.platform.db import Database
from pitboss.platform.mail import MailSpool
from pitboss.platform.objects import ObjectFolder
from pitboss.platform.settings import Settings
from pitboss.platform.telemetry import Metrics
from pitboss.plughost.runtime import Drivers, Receivers
from pitboss.wallet.runtime import Lanes
from pitboss.worker.account_jobs import account_jobs
from pitboss.worker.bonus_jobs import bonus_jobs
from pitboss.worker.capture_jobs import capture_jobs
from pitboss.worker.games_jobs import game_jobs
from pitboss.worker.jobs import Job, JobRegistry, without_payload
from pitboss.worker.key_jobs import key_jobs
from pitboss.worker.ledger_jobs import ledger_jobs
from pitboss.worker.quality_jobs import quality_jobs
from pitboss.worker.retention_jobs import retention_jobs
from pitboss.worker.subject_jobs import subject_jobs
from pitboss.worker.webhook_jobs import webhook_jobs


class JobParts(msgspec.Struct, frozen=True):
    """What jobs work with."""

    settings: Settings
    database: Database
    directory: Directory
    metrics: Metrics
    ring: KeyRing
    lanes: Lanes
    drivers: Drivers
    receivers: Receivers


def register_jobs(parts: JobParts) -> JobRegistry:
    """Return every job; the relay reads the periods of the same table that the worker runs."""
    metrics, scopes = parts.metrics, parts.directory.scopes
    objects = ObjectFolder(parts.settings.objects_dir, parts.settings.cell)
    return JobRegistry(
        [
            *ledger_jobs(parts.database, parts.lanes, metrics, scopes),
            *bonus_jobs(parts.lanes),
            *capture_jobs(metrics, scopes),
            *game_jobs(parts.drivers),
            *key_jobs(parts.database, parts.ring),
            *quality_jobs(parts.database, parts.drivers, metrics, scopes),
            *retention_jobs(parts.database),
            *subject_jobs(parts.ring, objects, metrics, scopes),
            *webhook_jobs(parts.receivers, metrics, scopes),
            *account_jobs(MailSpool(parts.settings.mail_spool_dir), parts.ring),
            Job("outbox.prune_done", without_payload(outbox.prune_done), "platform.outbox.delete", 3600),
        ]
    )
