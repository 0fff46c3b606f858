"""`pitboss web`: serve HTTP for one plane."""

from __future__ import annotations

from typing import Protocol

import click

from pitboss.permissions.service import deployment_command
from pitboss.platform.settings import Settings, load_settings


class WebServices(Protocol):
    """What the composition root offers to these commands."""

    def serve_cell(self, settings: Settings) -> None:
        """Serve a cell until a signal."""
        ...

    def serve_control(self, settings: Settings) -> None:
        """Serve the control plane until a signal."""
        ...


@click.group("web")
def web() -> None:
    """Serve HTTP."""


@web.command("cell")
@click.pass_obj
@deployment_command("platform.process.configure")
def cell_command(services: WebServices) -> None:
    """Serve players, operators and game providers of one cell."""
    services.serve_cell(load_settings())


@web.command("control")
@click.pass_obj
@deployment_command("platform.process.configure")
def control_command(services: WebServices) -> None:
    """Serve the control plane."""
    services.serve_control(load_settings())
