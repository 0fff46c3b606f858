"""The jobs of a cell: what they may take of the time for which the outbox lends them out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from pitboss.bootstrap import create_jobs
from pitboss.directory.runtime import Directory
from pitboss.platform.outbox import LEASE
from pitboss.platform.secrets import SecretStore
from pitboss.platform.settings import Settings
from pitboss.platform.telemetry import Metrics
from pitboss.plughost.runtime import Drivers, Receivers
from pitboss.wallet.runtime import Lanes
from pitboss.worker.jobs import DEFAULT_TIMEOUT_SECONDS, JobRegistry

LONG = {
    "captures.reconcile",
    "keys.change_epoch",
    "ledger.verify",
    "quality.compare",
    "quality.measure",
    "retention.carry_out",
    "subjects.make_export",
}
"""They work for as long as what they go through is; sent again meanwhile, they find their row locked and leave."""


def jobs_of_a_cell() -> JobRegistry:
    ground: Any = SimpleNamespace(database=None, metrics=Metrics(), directory=Directory("eu-1", ()), ring=None)
    return create_jobs(Settings(), ground, Lanes([]), Drivers({}, SecretStore(None)), Receivers({}, SecretStore(None)))


def test_a_job_ends_before_it_is_sent_again() -> None:
    """With time left to take it from the broker, and to give it back when it is ended."""
    longest_seconds = LEASE.total_seconds() * 0.8
    assert longest_seconds >= DEFAULT_TIMEOUT_SECONDS
    jobs = list(cast("Any", jobs_of_a_cell())._jobs.values())
    assert len(jobs) > 5
    too_long = {job.name for job in jobs if job.timeout_seconds > longest_seconds}
    assert too_long == LONG
