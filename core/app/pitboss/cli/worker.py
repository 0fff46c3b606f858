"""`pitboss worker` and `pitboss relay`: the work outside requests."""

from __future__ import annotations

from typing import Protocol

import click

from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import Settings, load_settings


class WorkerServices(Protocol):
    """What the composition root offers to these commands."""

    def run_worker(self, settings: Settings) -> None:
        """Run jobs until a signal."""
        ...

    def run_relay(self, settings: Settings) -> None:
        """Relay due jobs until a signal."""
        ...


@click.command("worker")
@click.pass_obj
@deployment_command("platform.process.configure")
def worker(services: WorkerServices) -> None:
    """Run the jobs that the relay hands to the broker."""
    services.run_worker(load_settings())


@click.command("relay")
@click.pass_obj
@deployment_command("platform.process.configure")
def relay(services: WorkerServices) -> None:
    """Hand due jobs from the outbox to the broker."""
    services.run_relay(load_settings())
